//! Leases tell who else has a file open.

use std::time::{Duration, Instant};

use super::super::super::Lease;
use super::*;

#[test]
fn a_write_lease_needs_the_file_to_oneself() {
    everywhere(|stage| {
        let at = stage.write("f", b"1");
        let file = stage.fs.open(&at).unwrap();
        let reader = File::open(stage.path("f")).unwrap();
        assert_eq!(errno(stage.fs.lease(&file, Lease::Write)), libc::EAGAIN);
        stage.fs.lease(&file, Lease::Read).unwrap();
        drop(reader);
        stage.fs.lease(&file, Lease::Write).unwrap();
        assert_eq!(stage.fs.lease_state(&file).unwrap(), Some(Lease::Write));
        stage.fs.release(&file).unwrap();
        assert_eq!(stage.fs.lease_state(&file).unwrap(), None);
        let _writer = File::options().write(true).open(stage.path("f")).unwrap();
        assert_eq!(errno(stage.fs.lease(&file, Lease::Read)), libc::EAGAIN);
    });
}

#[test]
fn a_client_that_opens_breaks_the_lease_and_waits_for_its_release() {
    everywhere(|stage| {
        let at = stage.write("f", b"1");
        for (lease, write, left) in [
            (Lease::Write, false, Some(Lease::Read)),
            (Lease::Write, true, None),
            (Lease::Read, true, None),
        ] {
            let file = stage.fs.open(&at).unwrap();
            stage.fs.lease(&file, lease).unwrap();
            std::thread::scope(|scope| {
                let path = stage.path("f");
                let client = scope
                    .spawn(move || File::options().read(true).write(write).open(path).unwrap());
                let patience = Instant::now() + Duration::from_secs(5);
                while stage.fs.lease_state(&file).unwrap() == Some(lease) {
                    assert!(Instant::now() < patience, "the lease was not broken");
                    std::thread::sleep(Duration::from_millis(1));
                }
                assert_eq!(stage.fs.lease_state(&file).unwrap(), left);
                assert!(!client.is_finished());
                stage.fs.release(&file).unwrap();
                client.join().unwrap();
            });
        }
    });
}

#[test]
fn our_own_calls_on_names_leave_a_lease_unbroken() {
    everywhere(|stage| {
        let at = stage.write("f", b"1");
        let file = stage.fs.open(&at).unwrap();
        stage.fs.lease(&file, Lease::Write).unwrap();
        stage.fs.stat(&at).unwrap();
        stage.fs.link(&file, &place("l")).unwrap();
        stage.fs.rename_noreplace(&at, &place("r")).unwrap();
        stage.fs.unlink(&place("l")).unwrap();
        stage.fs.unlink(&place("r")).unwrap();
        assert_eq!(stage.fs.lease_state(&file).unwrap(), Some(Lease::Write));
    });
}

#[test]
fn a_file_under_the_lease_of_another_is_not_waited_for() {
    everywhere(|stage| {
        let at = stage.write("f", b"1");
        let holder = stage.fs.open(&at).unwrap();
        stage.fs.lease(&holder, Lease::Write).unwrap();
        assert_eq!(errno(stage.fs.open(&at)), libc::EAGAIN);
        let id = stage.fs.stat_open(&holder).unwrap().id;
        assert_eq!(errno(stage.fs.open_inode(&at, id)), libc::EAGAIN);
        stage.fs.release(&holder).unwrap();
        stage.fs.release(&holder).unwrap();
        let again = stage.fs.open(&at).unwrap();
        stage.fs.sync_data(&again).unwrap();
        // Closing the file releases the lease as well, and before it returns.
        stage.fs.lease(&holder, Lease::Read).unwrap();
        drop(holder);
        stage.fs.lease(&again, Lease::Write).unwrap();
    });
}
