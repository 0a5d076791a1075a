//! Networks whose processes are stopped or gone: what they keep from being done, and what they do not.

use crate::support::World;

#[test]
fn a_network_is_called_by_no_word_that_means_another() {
    let world = World::new();
    for name in [
        "none",
        "user",
        "host",
        "pasta",
        "slirp4netns",
        "bridge",
        "container",
        "sandbox",
        "default",
    ] {
        let made = world.bryo(["network", "create", "--internal", name]).ends();
        made.refuses_with(&["for `NETWORK`: that word means another network"]);
    }
    // One that is there from before can be removed.
    let made = world.bryo(["network", "create", "--internal", "old"]).ends();
    made.succeeds();
    let (old, user) = (world.store().join("networks/old"), world.store().join("networks/user"));
    std::fs::rename(&old, &user).unwrap();
    let definition = user.join("network.json");
    let text = std::fs::read_to_string(&definition).unwrap();
    std::fs::write(definition, text.replace("\"old\"", "\"user\"")).unwrap();
    world.bryo(["network", "ls", "-q"]).ends().stdout_is("user\n");
    world.bryo(["network", "rm", "user"]).ends().succeeds().stdout_is("user\n");
}
