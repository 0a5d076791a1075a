//! Finds directories that two mounts show at two places: bind mounts, or a volume of btrfs beside the whole file system.
//!
//! # Theory of operation
//! A line of the table says which directory of which device stands where. Of two lines of one device, one
//! directory holds the other or neither; where it does, what the inner one shows is seen at both places.
//!
//! # Not here
//! Two names that links give one place: links are resolved wherever a path is looked at. Hard links, which nothing lists.

use crate::plan::facts::Twin;
use crate::spec::{HostPath, order};

use super::mountinfo::Line;

/// What stands there is the kernel's, and every sandbox has its own. Containers mount one thing over many places
/// there, and over what they hide.
const OF_THE_KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Every directory or file that is seen at a second place, and that place. Also the other way round.
pub fn find(lines: &[Line]) -> Vec<Twin> {
    let mut twins = Vec::new();
    for (index, one) in lines.iter().enumerate() {
        for other in lines.iter().skip(index + 1).filter(|other| other.device == one.device) {
            twins.extend(pair(one, other));
        }
    }
    let is_ours = |path: &HostPath| OF_THE_KERNEL.iter().any(|own| path.as_path().starts_with(own));
    twins.retain(|twin| !is_ours(&twin.of) && !is_ours(&twin.at));
    order::sort(&mut twins);
    twins.dedup();
    twins
}

fn pair(one: &Line, other: &Line) -> impl Iterator<Item = Twin> + use<> {
    let root = |line: &Line| HostPath::new(line.root.as_os_str()).ok();
    let roots = root(one).zip(root(other));
    let places = roots.and_then(|(in_one, in_other)| {
        let below_one =
            in_other.moved(&in_one, &one.mount.at).map(|at| (at, other.mount.at.clone()));
        below_one
            .or_else(|| Some((one.mount.at.clone(), in_one.moved(&in_other, &other.mount.at)?)))
    });
    // What is mounted onto itself is at one place.
    places.filter(|(one, other)| one != other).into_iter().flat_map(|(one, other)| {
        [Twin { of: one.clone(), at: other.clone() }, Twin { of: other, at: one }]
    })
}

/// The other names of a place.
pub(super) fn names_of<'a>(
    path: &'a HostPath,
    twins: &'a [Twin],
) -> impl Iterator<Item = HostPath> + 'a {
    twins.iter().filter_map(move |twin| twin.name_of(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twins(table: &str) -> Vec<String> {
        let lines = super::super::mountinfo::parse(table.as_bytes()).unwrap();
        find(&lines).iter().map(|twin| format!("{} {}", twin.of, twin.at)).collect()
    }

    #[test]
    fn a_bind_mount_is_found_from_both_sides() {
        let table = "1 0 8:1 / / rw - ext4 d rw\n2 1 8:1 /data/home /home rw - ext4 d rw\n\
                     3 1 8:2 / /mnt rw - ext4 e rw\n";
        assert_eq!(twins(table), ["/data/home /home", "/home /data/home"]);
    }

    #[test]
    fn volumes_beside_each_other_are_no_twins_but_those_below_the_whole_are() {
        let volumes = "1 0 0:9 /@ / rw - btrfs d rw\n2 1 0:9 /@home /home rw - btrfs d rw\n";
        assert_eq!(twins(volumes), [""; 0]);
        let whole = format!("{volumes}3 1 0:9 / /mnt/all rw - btrfs d rw\n");
        let expected =
            ["/ /mnt/all/@", "/home /mnt/all/@home", "/mnt/all/@ /", "/mnt/all/@home /home"];
        assert_eq!(twins(&whole), expected);
    }

    #[test]
    fn what_is_mounted_onto_itself_or_is_no_directory_has_no_twin() {
        let table = "1 0 8:1 / / rw - ext4 d rw\n2 1 8:1 /home/al /home/al rw - ext4 d rw\n\
                     3 1 0:4 net:[4026] /run/net rw - nsfs n rw\n4 1 0:4 net:[4027] /run/two rw - nsfs n rw\n\
                     5 1 0:5 /empty /proc/acpi ro - tmpfs t rw\n6 1 0:5 /empty /home/al/.ssh ro - tmpfs t rw\n";
        assert_eq!(twins(table), [""; 0]);
    }

    #[test]
    fn what_stands_around_a_twin_has_its_name_too() {
        let host = |path| HostPath::new(path).unwrap();
        let twins = [Twin { of: host("/home/al/.ssh/old"), at: host("/opt/keys") }];
        let names = |path| names_of(&host(path), &twins).map(|p| p.to_string()).collect::<Vec<_>>();
        assert_eq!(names("/home/al/.ssh/old/id"), ["/opt/keys/id"]);
        assert_eq!(names("/home/al/.ssh"), ["/opt/keys"]);
        assert_eq!(names("/home/al/.gnupg"), [""; 0]);
    }
}
