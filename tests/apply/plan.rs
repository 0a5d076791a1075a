//! Golden plans: changes and what stands on both sides, and the actions that come of them. Pure.

use bryo::changes::apply::{
    Applier, ApplyPlan, Choices, HostSide, Inode, Item, Parent, Resolve, Seen, Selection, Since,
    Spot, Tree, plan,
};
use bryo::changes::{Aspects, Change, Kind};
use bryo::plan::step::LayerNumber;
use bryo::spec::HostPath;

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;

fn seen(mode: u32, number: u64) -> Seen {
    Seen {
        inode: Inode { device: 1, number },
        mode,
        owner: 1000,
        group: 1000,
        links: 1,
        size: 1,
        modified: (1, 0),
        changed: (1, 0),
    }
}

/// A change: the layer's mode, and the host's; 0 for nothing.
fn item(path: &str, layer: u32, host: u32) -> Item {
    let some = |mode: u32, number| (mode != 0).then(|| seen(mode, number));
    let kind = match (layer, host) {
        (0, _) => Kind::Deleted,
        (_, 0) => Kind::Added,
        _ => Kind::Changed,
    };
    let change = Change {
        path: HostPath::new(path).unwrap(),
        kind,
        differs: Aspects::default(),
        now: None,
        was: None,
        hidden: false,
        stale: false,
        trouble: None,
        layer: LayerNumber(0),
    };
    let host = HostSide {
        parent: Parent::There(Spot { device: 1, group: None }),
        seen: some(host, 7),
        since: Since::Unchanged,
        equal: false,
        gone: false,
        tree: None,
    };
    Item {
        change,
        layer: some(layer, path.len() as u64 + 100),
        host,
        held: None,
        linked: None,
        merged: None,
        executed_later: None,
        excluded: false,
    }
}

fn shown(items: &[Item], plan: &ApplyPlan) -> Vec<String> {
    let actions = plan.actions.iter().map(|action| format!("{:?} {}", action.what, action.path));
    let left = plan
        .left
        .iter()
        .map(|left| format!("left {}: {}", items[left.change].change.path, left.why));
    actions.chain(left).collect()
}

fn planned(items: &[Item], choices: &Choices) -> Vec<String> {
    shown(items, &plan(items, choices, Applier { user: 1000, group: 1000 }))
}

#[test]
fn directories_come_first_then_files_then_removals_and_what_closes_last() {
    let items = [
        item("/a", DIRECTORY, FILE),
        item("/a/f", FILE, 0),
        item("/b", 0, FILE),
        item("/c", 0o040_500, DIRECTORY),
        item("/c/d", 0o040_555, DIRECTORY),
        item("/e", DIRECTORY, 0o040_500),
        item("/e/l", 0o120_777, 0),
        item("/z", FILE, DIRECTORY),
    ];
    let expected = [
        "Directory /a",
        "Adjust /e",
        "Put(Move) /a/f",
        "Put(Copy) /e/l",
        "Put(Move) /z",
        "Remove /b",
        "Adjust /c/d",
        "Adjust /c",
    ];
    assert_eq!(planned(&items, &Choices::default()), expected);
}

#[test]
fn names_of_one_file_are_copied_once_and_linked() {
    let mut items = ["/a", "/b", "/c"].map(|path| item(path, FILE, 0));
    for item in &mut items {
        let layer = item.layer.as_mut().unwrap();
        (layer.links, layer.inode.number) = (3, 5);
    }
    let expected = ["Put(Copy) /a", "Put(Link(\"/a\")) /b", "Put(Link(\"/a\")) /c"];
    assert_eq!(planned(&items, &Choices::default()), expected);
}

#[test]
fn a_file_is_moved_only_when_it_would_be_the_same() {
    let with = |change: fn(&mut Item)| {
        let mut item = item("/f", FILE, 0);
        change(&mut item);
        planned(&[item], &Choices::default()).remove(0)
    };
    let layer = |change: fn(&mut Seen)| {
        let mut item = item("/f", FILE, 0);
        change(item.layer.as_mut().unwrap());
        planned(&[item], &Choices::default()).remove(0)
    };
    assert_eq!(with(|_| {}), "Put(Move) /f");
    for copied in [
        layer(|seen| seen.inode.device = 2),
        layer(|seen| seen.owner = 1001),
        layer(|seen| seen.group = 5),
        layer(|seen| seen.links = 2),
        layer(|seen| seen.mode |= 0o4000),
        layer(|seen| seen.mode |= 0o2000),
        with(|item| item.host.parent = Parent::There(Spot { device: 1, group: Some(5) })),
    ] {
        assert_eq!(copied, "Put(Copy) /f");
    }
    let foreign = with(|item| {
        item.host.seen = Some(Seen { owner: 0, ..seen(FILE, 7) });
        item.change.kind = Kind::Changed;
    });
    let same = with(|item| {
        item.host.seen = Some(Seen { owner: 0, ..seen(FILE, 7) });
        (item.host.since, item.host.equal) = (Since::Changed, true);
    });
    assert_eq!(same, "Drop /f");
    assert_eq!(
        foreign,
        "left /f: what the host has there belongs to user 0, and put in its place it would be yours"
    );
}

#[test]
fn conflicts_are_settled_as_somebody_chose_and_refusals_by_nobody() {
    let items = || {
        let mut items = [
            item("/changed", FILE, FILE),
            item("/equal", FILE, FILE),
            item("/gone", FILE, 0),
            item("/hidden", FILE, 0),
            item("/lost/f", FILE, 0),
            item("/tree", 0, DIRECTORY),
        ];
        items[0].host.since = Since::Changed;
        (items[1].host.since, items[1].host.equal) = (Since::Changed, true);
        items[2].host.gone = true;
        items[3].change.hidden = true;
        items[4].host.parent = Parent::Missing(Spot { device: 1, group: None });
        items[5].host.tree = Some(Tree::Newer(HostPath::new("/tree/x").unwrap(), Since::Changed));
        items
    };
    let with = |conflicts| planned(&items(), &Choices { conflicts, ..Choices::default() });
    let hidden = "left /hidden: the sandbox was not shown what the host has there";
    let lost = "left /lost/f: the host has no such directory any more";
    assert_eq!(
        with(Resolve::Tell),
        [
            "Drop /equal",
            "left /changed: changed on the host since the sandbox started",
            "left /gone: removed on the host since the sandbox started",
            hidden,
            lost,
            "left /tree: `/tree/x` in it changed on the host since the sandbox started",
        ]
    );
    let theirs =
        ["Put(Move) /changed", "Put(Move) /gone", "Remove /tree", "Drop /equal", hidden, lost];
    assert_eq!(with(Resolve::Theirs), theirs);
    let ours = ["Drop /changed", "Drop /equal", "Drop /gone", "Drop /lost/f", "Drop /tree", hidden];
    assert_eq!(with(Resolve::Ours), ours);
}

#[test]
fn what_lies_below_comes_with_the_new_directories_it_needs_and_goes_with_a_no() {
    let items = [
        item("/n", DIRECTORY, 0),
        item("/n/in", DIRECTORY, 0),
        item("/n/in/f", FILE, 0),
        item("/n/other", FILE, 0),
    ];
    let path = |text: &str| HostPath::new(text).unwrap();
    let below = Selection::Below(vec![path("/n/in/f")]);
    let choices = Choices { selected: below, ..Choices::default() };
    assert_eq!(planned(&items, &choices), ["Parent /n", "Parent /n/in", "Put(Move) /n/in/f"]);
    let exactly = Selection::Exactly([path("/n"), path("/n/in/f")].into());
    let choices = Choices { selected: exactly, ..Choices::default() };
    assert_eq!(planned(&items, &choices), ["Directory /n", "left /n/in/f: `/n/in` is not applied"]);
}

#[test]
fn what_was_said_of_one_path_settles_that_alone() {
    let mut items = ["/a", "/b", "/c"].map(|path| item(path, FILE, FILE));
    for item in &mut items {
        item.host.since = Since::Changed;
    }
    let path = |text: &str| HostPath::new(text).unwrap();
    let settled = [(path("/a"), Resolve::Theirs), (path("/c"), Resolve::Ours)].into();
    let choices = Choices { settled, ..Choices::default() };
    let told = "left /b: changed on the host since the sandbox started";
    assert_eq!(planned(&items, &choices), ["Put(Move) /a", "Drop /c", told]);
    let plan = plan(&items, &choices, Applier { user: 1000, group: 1000 });
    let overridden: Vec<bool> = plan.actions.iter().map(|action| action.overrides).collect();
    assert_eq!(overridden, [true, false]);
}
