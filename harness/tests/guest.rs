// SPDX-License-Identifier: Apache-2.0
//! The guest's session against a real OpenSSH server.
#![expect(clippy::disallowed_methods, reason = "tests unwrap at once")]
mod common;

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use common::{Sshd, free_port, key};
use loadgauge::guest::{Command, Exit, Guest, GuestError, Phase};
use loadgauge_host::error::on_one_line;

#[tokio::test]
async fn status_and_signal_are_distinguished() {
    let sshd = Sshd::start();
    let guest = sshd.guest().await;
    let output = guest.run(Command::new("echo out; echo err >&2; exit 7")).await.expect("it ran");
    assert_eq!(output.exit, Exit::Status(7));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    let output = guest.run(Command::new("echo last; kill -KILL $$")).await.expect("it ran");
    assert_eq!(output.exit, Exit::Signal("KILL".into()));
    assert_eq!(output.stdout, b"last\n");
}

#[tokio::test]
async fn four_mebibytes_on_both_streams_do_not_stall() {
    let sshd = Sshd::start();
    let guest = sshd.guest().await;
    let line = "head -c 4194304 /dev/zero; head -c 4194304 /dev/zero >&2; \
                head -c 4194304 /dev/zero & head -c 4194304 /dev/zero >&2; wait";
    let output = guest.run(Command::new(line)).await.expect("it ran");
    assert_eq!(output.exit, Exit::Status(0));
    assert_eq!((output.stdout.len(), output.stderr.len()), (8 << 20, 8 << 20));
}

#[tokio::test]
async fn input_arrives_completely_and_ends() {
    let sshd = Sshd::start();
    let guest = sshd.guest().await;
    let input: Vec<u8> = (0..4_u32 << 20).map(|index| (index % 251) as u8).collect();
    let output = guest.run(Command::new("cat").with_input(input.clone())).await.expect("it ran");
    assert!(output.stdout == input, "4 MiB come back unchanged");
    let output = guest.run(Command::new("cat; echo over")).await.expect("it ran");
    assert_eq!(output.stdout, b"over\n");
    // A command that reads no input ends without it.
    let output = guest.run(Command::new("exit 3").with_input(input)).await.expect("it ran");
    assert_eq!(output.exit, Exit::Status(3));
}

#[tokio::test]
async fn a_command_is_aborted_at_its_time_out() {
    let sshd = Sshd::start();
    let guest = sshd.guest().await;
    let started = Instant::now();
    let line = "echo begun; sleep 100";
    let error = guest
        .run(Command::new(line).with_timeout(Duration::from_secs(1)))
        .await
        .expect_err("it does not end");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(error.phase(), Some(Phase::Transfer));
    assert_eq!(error.partial().expect("what it printed").stdout, b"begun\n");
    let text = on_one_line(&error);
    assert!(text.contains("`echo begun; sleep 100`") && text.contains("within 1 s"), "{text}");
    let output = guest.run(Command::new("echo again")).await.expect("a new connection is made");
    assert_eq!(output.stdout, b"again\n");
}

#[tokio::test]
async fn a_command_that_never_stops_printing_is_aborted() {
    let sshd = Sshd::start();
    let guest = sshd.guest().await;
    let started = Instant::now();
    let command = Command::new("while :; do echo y; sleep 0.01; done").with_timeout(Duration::from_secs(1));
    let error = guest.run(command).await.expect_err("it does not end");
    assert!(matches!(error, GuestError::TimedOut { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let error = guest.run(Command::new("yes")).await.expect_err("it prints forever");
    assert!(matches!(error, GuestError::TooMuch { .. } | GuestError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_dies_is_an_error_and_not_a_status() {
    let mut sshd = Sshd::start();
    let guest = sshd.guest().await;
    let command = Command::new("echo alive; sleep 30");
    let (result, ()) = tokio::join!(guest.run(command), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        sshd.kill();
    });
    let error = result.expect_err("the server is gone");
    assert!(matches!(error, GuestError::Lost { phase: Phase::Transfer, .. }), "{error:?}");
    assert_eq!(error.partial().expect("what it printed").stdout, b"alive\n");
    let error = guest.run(Command::new("true")).await.expect_err("still gone");
    assert!(matches!(error, GuestError::Closed { .. }), "{error:?}");
}

#[tokio::test]
async fn a_guest_reconnects_after_a_reboot_with_the_same_host_key() {
    let mut sshd = Sshd::start();
    let guest = sshd.guest().await;
    let first = guest.host_key().expect("a host key");
    sshd.kill();
    sshd.restart(2);
    guest.reconnect(Duration::from_secs(10)).await.expect("the same host key");
    assert_eq!(guest.host_key(), Some(first.clone()));
    assert_eq!(guest.run(Command::new("echo back")).await.expect("it ran").stdout, b"back\n");
    sshd.kill();
    sshd.restart(3);
    let error = guest.reconnect(Duration::from_secs(10)).await.expect_err("another host key");
    let GuestError::HostKey { expected, found, .. } = &error else { panic!("{error:?}") };
    assert!(*expected == first && *found != first, "{error:?}");
}

#[tokio::test]
async fn a_port_that_refuses_is_named() {
    let address = free_port();
    let started = Instant::now();
    let error =
        Guest::connect(address, "core", &key(1), Duration::from_millis(600)).await.expect_err("no server");
    assert_eq!(error.phase(), Some(Phase::Connect));
    let text = on_one_line(&error);
    assert!(text.contains(&address.to_string()) && text.contains("refused"), "{text}");
    assert!(matches!(error, GuestError::Connect { attempts: 2.., .. }), "it was retried: {error:?}");
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_port_without_an_answer_fails_in_the_handshake() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    let error =
        Guest::connect(address, "core", &key(1), Duration::from_millis(500)).await.expect_err("no answer");
    assert!(matches!(error, GuestError::TimedOut { phase: Phase::Handshake, .. }), "{error:?}");
    // As QEMU does for a guest whose port is closed: the connection is accepted and closed.
    let deaf = std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut first = [0; 4];
            if stream.read(&mut first).is_ok_and(|count| count == 4 && &first == b"quit") {
                break;
            }
        }
    });
    let error =
        Guest::connect(address, "core", &key(1), Duration::from_millis(500)).await.expect_err("it hangs up");
    assert!(matches!(error, GuestError::Handshake { .. }), "{error:?}");
    std::io::Write::write_all(&mut std::net::TcpStream::connect(address).expect("open"), b"quit")
        .expect("sent");
    deaf.join().expect("it ended");
}

#[tokio::test]
async fn a_wrong_key_is_final() {
    let sshd = Sshd::start();
    let started = Instant::now();
    let error = Guest::connect(sshd.address, &sshd.user, &key(9), Duration::from_secs(30))
        .await
        .expect_err("an unknown key");
    assert_eq!(error.phase(), Some(Phase::Authenticate), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "it is not retried");
}

#[tokio::test]
async fn connecting_is_retried_while_the_guest_boots() {
    let mut sshd = Sshd::start();
    sshd.kill();
    let (address, user, key) = (sshd.address, sshd.user.clone(), sshd.key.clone());
    let guest =
        tokio::spawn(async move { Guest::connect(address, &user, &key, Duration::from_secs(20)).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    sshd.restart(2);
    let guest = guest.await.expect("no panic").expect("it comes up");
    guest.close().await;
    let error = guest.run(Command::new("true")).await.expect_err("it was closed");
    assert!(on_one_line(&error).contains("the harness closed it"), "{error:?}");
}

#[tokio::test]
async fn a_cancelled_command_does_not_delay_the_next() {
    let sshd = Sshd::start();
    let guest = sshd.guest().await;
    let started = Instant::now();
    tokio::time::timeout(Duration::from_millis(300), guest.run(Command::new("sleep 30")))
        .await
        .expect_err("cancelled");
    let output = guest.run(Command::new("echo next")).await.expect("it ran");
    assert_eq!(output.stdout, b"next\n");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}
