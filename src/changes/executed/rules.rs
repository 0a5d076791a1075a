//! The list of what others execute: words of a path, in small letters.
//!
//! Each text is a list of paths with blanks between them; no such path has a blank in it.

use super::Executed;

/// Paths by their ending: the last name, and what has to stand before it.
pub(super) const FILES: &[(Executed, &str)] = &[
    (
        Executed::Shell,
        "
        .bashrc .bash_profile .bash_login .bash_logout .bash_aliases .bash_completion
        .profile .inputrc .zshrc .zshenv .zprofile .zlogin .zlogout .kshrc .mkshrc .cshrc
        .tcshrc .login .logout .shrc .shinit .xonshrc .elvish/rc.elv .zcompdump
        .bashrc.local .zshrc.local .bash_env .p10k.zsh .fzf.bash .fzf.zsh .cargo/env
        .cargo/env.fish .cargo/env.nu .deno/env .ghcup/env .local/bin/env
        .local/bin/env.fish .config/starship.toml .config/user-dirs.dirs .selected_editor
        ",
    ),
    (
        Executed::Session,
        "
        .xinitrc .xsession .xsessionrc .xprofile .xserverrc .xmodmap .xresources .xdefaults
        .pam_environment .dmrc .fluxbox/startup .i3/config .xbindkeysrc
        .config/sxhkd/sxhkdrc .local/share/applications/mimeapps.list .config/mimeapps.list
        .fvwm2rc .twmrc .mwmrc .jwmrc .ratpoisonrc .stumpwmrc .vnc/xstartup
        .config/kglobalshortcutsrc .config/kwinrc .config/dconf/user
        .fehbg .config/pulse/default.pa
        ",
    ),
    (
        Executed::Git,
        "
        .gitconfig .git/config .git/config.worktree .git/commondir .git/info/attributes
        .git/rebase-merge/git-rebase-todo .git/rebase-apply/git-rebase-todo .gitmodules
        ",
    ),
    (
        Executed::VersionControl,
        "
        .hgrc .hg/hgrc .subversion/config .bazaar/bazaar.conf .jjconfig.toml
        .jj/repo/config.toml .hg/sharedpath
        ",
    ),
    (
        Executed::Environment,
        "
        .envrc .direnvrc .mise.toml mise.toml .mise.local.toml .tool-versions .autoenv
        .autoenv.zsh .lando.yml shell.nix mise.local.toml .rtx.toml .config/mise.toml .env
        .env.local .env.leave .autoenv.leave .autoenv_leave.zsh devenv.nix devbox.json
        .sdkmanrc .envrc.local
        .envrc.private .env.development mise/config.toml .gitpod.yml .replit
        ",
    ),
    (
        Executed::Editor,
        "
        .vimrc .gvimrc .exrc .nvimrc .nvim.lua .nvim-local.lua .lvimrc .viminfo .emacs
        .dir-locals.el .dir-locals-2.el .nanorc .kakrc .devcontainer.json .ycm_extra_conf.py
        .vsls.json .emacs.el .emacs.elc .gnus .gnus.el _vimrc .clangd .ccls
        .ideavimrc .spacemacs .vimspector.json .vs/tasks.vs.json .config/qutebrowser/config.py
        ",
    ),
    (
        Executed::Agent,
        "
        .mcp.json claude.md agents.md gemini.md .cursorrules .windsurfrules .clinerules
        .goosehints .aider.conf.yml .github/copilot-instructions.md .claude.json
        claude.local.md qwen.md crush.json .crush.json opencode.json .roomodes .roorules
        .rules
        mcp.json agent.md warp.md
        ",
    ),
    (
        Executed::Ci,
        "
        .gitlab-ci.yml .travis.yml .drone.yml .appveyor.yml appveyor.yml .cirrus.yml
        .cirrus.star .woodpecker.yml .build.yml jenkinsfile azure-pipelines.yml
        bitbucket-pipelines.yml cloudbuild.yaml .pre-commit-config.yaml
        .pre-commit-hooks.yaml lefthook.yml .lefthook.yml lefthook-local.yml .lintstagedrc
        .overcommit.yml .readthedocs.yaml .goreleaser.yml .goreleaser.yaml renovate.json
        lefthook.yaml .lefthook.yaml .lintstagedrc.js .lintstagedrc.json .huskyrc
        .huskyrc.js .woodpecker.yaml .azure-pipelines.yml
        buildspec.yml .mypy.ini mypy.ini .coveragerc lint-staged.config.js commitlint.config.js
        ",
    ),
    (
        Executed::Packages,
        "
        .npmrc .yarnrc .yarnrc.yml .pnpmfile.cjs .pnp.cjs .pnp.loader.mjs .pypirc
        .pip/pip.conf .config/pip/pip.conf pip.conf .condarc .gemrc .cargo/config
        .cargo/config.toml .m2/settings.xml .m2/extensions.xml .mvn/extensions.xml
        .mvn/jvm.config .mvn/maven.config .gradle/init.gradle .gradle/init.gradle.kts
        .gradle/gradle.properties .sbt/repositories .config/go/env .config/nix/nix.conf
        .bundle/config .asdfrc .pnpmfile.mjs pnpm-workspace.yaml
        gradle.properties .sbtopts project/plugins.sbt
        ",
    ),
    (
        Executed::Interpreter,
        "
        sitecustomize.py usercustomize.py .pythonrc .pythonrc.py .pythonstartup .pdbrc
        .gdbinit .lldbinit .irbrc .pryrc .rprofile .renviron .ghci .perldb .octaverc
        .sqliterc .psqlrc .guile .node_repl_history.js .julia/config/startup.jl
        .gdbearlyinit .ocamlinit .utoprc .erlang .iex.exs .rdata .jdbrc jdb.ini .psysh.php
        .byebugrc .rdebugrc .mongorc.js .mongoshrc.js .sbclrc .clisprc .clisprc.lisp
        .ccl-init.lisp .eclrc .abclrc
        ",
    ),
    (
        Executed::Settings,
        "
        .screenrc .tmux.conf .lessfilter .lesskey .mailcap .forward .procmailrc .fetchmailrc
        .muttrc .mbsyncrc .wgetrc .curlrc .gnupg/gpg.conf .gnupg/gpg-agent.conf
        .gnupg/dirmngr.conf .docker/config.json .aws/config .kube/config
        .config/containers/containers.conf .terraformrc .watchmanconfig .ctags .my.cnf
        .asoundrc .mailrc .msmtprc .offlineimaprc .aws/credentials .ripgreprc .ackrc .tigrc
        .taskrc .conkyrc .config/gh/config.yml .gnupg/gpgsm.conf .gnupg/scdaemon.conf
        .lftprc .mc.menu .config/mc/menu .config/ghostty/config
        ",
    ),
    (
        Executed::Cron,
        "
        .crontab
        ",
    ),
    (
        Executed::Ssh,
        "
        .ssh/authorized_keys .ssh/authorized_keys2 .ssh/rc .ssh/config .ssh/environment
        .rhosts .shosts .k5login
        ",
    ),
    (
        Executed::Build,
        "
        rust-toolchain rust-toolchain.toml .bazelrc .bazeliskrc tools/bazel
        gradle/wrapper/gradle-wrapper.properties gradle/wrapper/gradle-wrapper.jar
        .latexmkrc latexmkrc .ansible.cfg ansible.cfg .pylintrc pylintrc .flake8
        .rubocop.yml .rspec .eslintrc .eslintrc.json .eslintrc.yml .eslintrc.yaml
        .eslintrc.js .eslintrc.cjs .prettierrc .golangci.yml .golangci.yaml .mocharc.js
        .mocharc.json .mocharc.yml .proverc .makepkg.conf .rpmmacros .sbuildrc .pbuilderrc
        .devscripts
        ",
    ),
];

/// Everything below directories with this ending.
pub(super) const BELOW: &[(Executed, &str)] = &[
    (
        Executed::Shell,
        "
        .bashrc.d .bash_completion.d .profile.d .zshrc.d .zsh .oh-my-zsh .oh-my-bash
        .config/bash .config/zsh .config/fish .config/nushell .config/powershell
        .config/elvish .config/xonsh .local/share/bash-completion .local/share/fish .nvm
        .pyenv .rbenv .rvm .sdkman .bash_it .zinit .zplug .zim .zprezto .antigen .fzf
        .local/share/zinit .opam/opam-init
        ",
    ),
    (
        Executed::Session,
        "
        .config/autostart .config/autostart-scripts .config/plasma-workspace .kde/autostart
        .config/lxsession .config/openbox .config/sway .config/i3 .config/hypr
        .config/awesome .config/bspwm .config/qtile .config/river .config/labwc
        .config/waybar .config/polybar .xmonad .config/xmonad .local/share/applications
        .local/share/kservices5 .local/share/dbus-1 .local/share/gnome-shell/extensions
        .local/share/plasma .local/share/nautilus .local/share/nautilus-python
        .local/share/thumbnailers .config/xfce4 .fvwm .icewm .config/herbstluftwm
        .config/leftwm .config/niri .config/eww .config/rofi .config/dunst .config/conky
        .config/pipewire .config/wireplumber .config/pulse .config/user-tmpfiles.d .screenlayout
        .local/share/nemo .config/espanso
        ",
    ),
    (
        Executed::Git,
        "
        .git/hooks .config/git .husky .githooks
        ",
    ),
    (
        Executed::VersionControl,
        "
        .config/jj .config/hg
        ",
    ),
    (
        Executed::Environment,
        "
        .config/direnv .direnv .config/mise .mise .config/environment.d .asdf
        ",
    ),
    (
        Executed::Editor,
        "
        .vscode .vscode-server .config/code/user .config/vscodium/user .idea .fleet .zed
        .config/zed .helix .config/helix .kakoune .config/kak .vim .nvim .config/nvim
        .local/share/nvim .local/share/vim-lsp-settings .emacs.d .config/emacs .doom.d
        .config/doom .config/micro .config/sublime-text .config/jetbrains .devcontainer
        .config/cursor/user .config/code-server .run .theia .nova
        ",
    ),
    (
        Executed::Agent,
        "
        .claude .cursor .gemini .codex .windsurf .continue .roo .cline .aider .opencode
        .config/opencode .config/goose .github/instructions .github/prompts .kiro .junie
        .qwen .crush .config/crush .amazonq .factory
        .copilot .trae .github/agents .github/chatmodes
        ",
    ),
    (
        Executed::Ci,
        "
        .github/workflows .github/actions .forgejo/workflows .gitea/workflows .gitlab/ci
        .circleci .buildkite .woodpecker .semaphore .teamcity .tekton .azure-pipelines
        .lefthook
        ",
    ),
    (
        Executed::Build,
        "
        .rustup/toolchains
        buildsrc
        ",
    ),
    (
        Executed::Packages,
        "
        .gradle/init.d .yarn/releases .yarn/plugins .sbt .config/yarn .mvn/wrapper
        ",
    ),
    (
        Executed::Interpreter,
        "
        .config/gdb .config/pudb .config/ipython .ipython .jupyter .config/matplotlib
        .local/lib .config/r .julia/config .config/ghc
        .local/share/jupyter
        ",
    ),
    (
        Executed::Settings,
        "
        .config/tmux .tmux .config/mpv .config/ranger .config/lf .config/nnn .config/yazi
        .config/lesspipe .config/kitty .config/alacritty .config/wezterm .config/foot
        .config/htop .config/mutt .config/neomutt .config/containers .docker/cli-plugins
        .config/khal .weechat .config/weechat .irssi .byobu .tmuxinator .config/tmuxinator
        .config/zellij .local/share/gh/extensions .task/hooks .azure/cliextensions
        .local/share/helm .local/share/vulkan .config/vulkan .mozilla/native-messaging-hosts
        .config/google-chrome/nativemessaginghosts .config/chromium/nativemessaginghosts
        .config/aerc .mutt .config/lazygit .config/tig
        .config/libvirt .config/home-manager .config/nixpkgs .config/ghostty .config/thunar
        .config/gimp .config/inkscape .config/blender .config/libreoffice
        ",
    ),
    (
        Executed::Cron,
        "
        .config/cron /etc/cron.d /etc/cron.hourly /etc/cron.daily /etc/cron.weekly
        /etc/cron.monthly /var/spool/cron /var/spool/at
        ",
    ),
    (
        Executed::Systemd,
        "
        .config/systemd .local/share/systemd /etc/systemd /usr/lib/systemd /lib/systemd
        /usr/local/lib/systemd
        ",
    ),
    (
        Executed::Command,
        "
        .local/bin .cargo/bin go/bin .go/bin .npm-global/bin .deno/bin .bun/bin .volta/bin
        .juliaup/bin .krew/bin .nix-profile node_modules/.bin venv/bin .venv/bin
        /usr/local/bin /usr/local/sbin /usr/bin /usr/sbin /bin /sbin .local/share/mise/shims
        .local/share/pnpm .local/share/uv .local/share/pipx .dotnet/tools .ghcup/bin
        .cabal/bin .luarocks/bin .nimble/bin .elan/bin .pixi/bin .foundry/bin .rye/shims
        ",
    ),
    (
        Executed::System,
        "
        /etc /boot /usr/lib /lib /lib64 /usr/local/lib /usr/local/etc
        /usr/share/applications
        ",
    ),
    (
        Executed::Bryo,
        "
        .config/bryo .local/share/bryo
        ",
    ),
    (
        Executed::Ssh,
        "
        .ssh
        ",
    ),
];

/// Build descriptions, marked when they are new.
pub(super) const NEW: &str = "
    makefile gnumakefile bsdmakefile cmakelists.txt cmakepresets.json meson.build
    build.ninja configure configure.ac configure.in sconstruct sconscript wscript build.rs
    cargo.toml setup.py setup.cfg pyproject.toml conftest.py noxfile.py tox.ini pytest.ini
    tasks.py fabfile.py dodo.py manage.py package.json gruntfile.js gulpfile.js
    webpack.config.js vite.config.js vite.config.ts rollup.config.js jest.config.js
    babel.config.js .babelrc.js eslint.config.js .prettierrc.js postcss.config.js
    next.config.js deno.json bunfig.toml binding.gyp rakefile gemfile thorfile build.gradle
    build.gradle.kts settings.gradle settings.gradle.kts gradlew mvnw pom.xml build.xml
    build.sbt build.zig justfile .justfile taskfile.yml taskfile.yaml magefile.go earthfile
    tiltfile skaffold.yaml vagrantfile dockerfile containerfile docker-compose.yml
    docker-compose.yaml compose.yml compose.yaml procfile workspace workspace.bazel
    module.bazel build.bazel flake.nix default.nix composer.json mix.exs rebar.config
    makefile.pl build.pl build.boot project.clj deps.edn dub.sdl package.swift stack.yaml
    setup.hs directory.build.props directory.build.targets nuget.config makefile.am
    build.mill build.sc xmake.lua premake5.lua conanfile.py hatch_build.py deno.jsonc
    vitest.config.js vitest.config.ts playwright.config.ts jest.config.ts tailwind.config.js
    svelte.config.js astro.config.mjs nuxt.config.ts vite.config.mjs rollup.config.mjs
    next.config.mjs eslint.config.mjs eslint.config.cjs postcss.config.cjs babel.config.cjs
    .mocharc.cjs guardfile podfile fastfile dangerfile cmakeuserpresets.json webpack.config.ts
    vite.config.mts snakefile dune build buck .buckconfig pkgbuild pipfile
";

/// By the ending of the last name.
pub(super) const ENDINGS: &[(Executed, &str)] = &[
    (Executed::Interpreter, ".pth"),
    (Executed::Editor, ".code-workspace"),
    (Executed::Editor, ".sublime-project"),
    (Executed::Session, ".desktop"),
];

/// Directories that hold `config` and `hooks`: what git keeps of a repository elsewhere than in `.git`.
pub(super) const REPOSITORIES: &[&str] = &[".git/modules/", ".git/worktrees/"];
