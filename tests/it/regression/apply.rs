//! `bryo apply`, as an ordinary user.

use crate::support::{Host, Overlay, World, overlay_is_one_of};

#[test]
fn a_directory_goes_with_one_in_it_that_nobody_may_write_in() {
    if !overlay_is_one_of(&[Overlay::Kernel, Overlay::Fuse]) {
        return;
    }
    let world = World::new();
    world.keeps(1);
    world.host(Host::MayChange);
    let make = "cd project; mkdir -p d/ro/in d/x; echo 1 >d/ro/f; echo 2 >d/ro/in/g; \
                chmod 555 d/ro/in d/ro";
    world.outside(make).succeeds();
    // The control: this is not removed without more ado.
    world.outside("rm -r project/d/ro 2>/dev/null || echo no").stdout_is("no\n");
    world.sandbox().args(["--name", "n"]).run("chmod -R u+w d; rm -r d").succeeds();
    world.bryo(["apply", "n"]).ends().succeeds().stdout_is("applied 1 change\n");
    world.outside("ls -A project").stdout_is("");
}
