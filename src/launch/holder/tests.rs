//! What is said at the holder's end.

use super::*;

#[test]
fn who_ended_without_reading_a_question_is_heard() {
    let failed = || Answer::Failed(process::failure("make a bridge", Errno::EOPNOTSUPP));
    // Before the question, and with it unread.
    for asked_before in [false, true] {
        let (ours, theirs) = socket::pair().unwrap();
        if asked_before {
            send(&ours, &Ask::Space, None).unwrap();
        }
        send(&theirs, &failed(), None).unwrap();
        drop(theirs);
        assert_eq!(ask(&ours, &Ask::Space, None).unwrap().0, failed());
        assert!(matches!(ask(&ours, &Ask::Space, None), Err(Errno::EPIPE)));
    }
}
