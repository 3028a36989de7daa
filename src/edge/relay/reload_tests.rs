//! Routes that end and begin again while the loop has nothing else to do, as reloads make them.

use std::time::{Duration, Instant};

use super::RelayError;
use super::tests::{assert_passes, on_both, pair, route, service};

const GRACE: Duration = Duration::from_secs(20);
const ROUNDS: u32 = 5;
/// Each way. The loop turns every two seconds by itself: what waits for that takes longer.
const SOON: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_route_begins_and_ends_at_once() {
    on_both(async |relay, _| {
        let (service, address) = service().await;
        let mut wanted = route(&[address]);
        for round in 0..ROUNDS {
            let begun = Instant::now();
            let handle = loop {
                match relay.start(wanted.clone()) {
                    // The kernel has the port until the listener is closed.
                    Err(RelayError::Listen { .. }) if begun.elapsed() < SOON => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    started => break started.expect("the port is free again"),
                }
            };
            wanted.listen = handle.local_address();
            let (mut client, mut server) = pair(&handle, &service).await;
            assert_passes(&mut client, &mut server, b"there").await;
            assert!(begun.elapsed() < SOON, "round {round}: {:?}", begun.elapsed());
            tokio::spawn(handle.stop(GRACE));
        }
    })
    .await;
}
