//! What endpoints cost: connects, publishes and disconnects so many, and prints the median and the mean of each phase.
//!
//! `connect_loop [COUNT [WARM]]`, as root. It works in a network namespace of its own and leaves nothing behind.

use std::time::{Duration, Instant};

use dhow_net::{EndpointRequest, NetConfig, Network, PortRequest, Protocol};
use rustix::thread::UnshareFlags;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|argument| argument.parse().expect("a number"));
    let count = arguments.next().unwrap_or(200);
    let warm = arguments.next().unwrap_or(8);
    // SAFETY: there is one thread yet, and only its network namespace changes.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
        .expect("root may make a network namespace");
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads")
        .block_on(measure(count, warm));
}

#[derive(Default)]
struct Phase(Vec<Duration>);

impl Phase {
    async fn time<T>(&mut self, work: impl Future<Output = T>) -> T {
        let start = Instant::now();
        let result = work.await;
        self.0.push(start.elapsed());
        result
    }

    fn print(mut self, name: &str) {
        self.0.sort();
        let total: Duration = self.0.iter().sum();
        println!(
            "{name:<34} median {:>9.1?}  mean {:>9.1?}  worst {:>9.1?}",
            self.0[self.0.len() / 2],
            total / self.0.len() as u32,
            self.0[self.0.len() - 1],
        );
    }
}

async fn measure(count: usize, warm: usize) {
    let mut phases: [Phase; 6] = Default::default();
    let [open, paced, burst, publish, unpublish, disconnect] = &mut phases;
    let config = NetConfig {
        warm,
        ..NetConfig::default()
    };
    let network = open
        .time(Network::open(config, Vec::new()))
        .await
        .expect("a network");
    // One start after another, with time in between to make the next one ready.
    for _ in 0..count {
        while network.ready() < warm {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        let endpoint = paced
            .time(network.connect(EndpointRequest::default()))
            .await
            .expect("an endpoint");
        network.disconnect(endpoint.ip, "").await.expect("its end");
    }
    // All at once.
    let mut endpoints = Vec::new();
    let start = Instant::now();
    for _ in 0..count {
        endpoints.push(
            burst
                .time(network.connect(EndpointRequest::default()))
                .await
                .expect("an endpoint"),
        );
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    let mut holders = Vec::new();
    for (port, endpoint) in (10_000..).zip(&endpoints) {
        let request = PortRequest {
            protocol: Protocol::Tcp,
            container_port: 80,
            host_ip: None,
            host_ports: Some((port, port)),
        };
        let requests = [request];
        holders.push(
            publish
                .time(network.publish(endpoint.ip, &requests))
                .await
                .expect("a port"),
        );
    }
    for (endpoint, published) in endpoints.iter().zip(&holders) {
        unpublish
            .time(network.unpublish(endpoint.ip, &published.bindings))
            .await
            .expect("the port back");
    }
    for endpoint in &endpoints {
        disconnect
            .time(network.disconnect(endpoint.ip, ""))
            .await
            .expect("its end");
    }
    println!("{count} endpoints, {warm} kept ready; {rate:.0} a second without a pause");
    let names = [
        "open",
        "connect, one ready",
        "connect, without a pause",
        "publish a TCP port",
        "unpublish it",
        "disconnect",
    ];
    for (phase, name) in phases.into_iter().zip(names) {
        phase.print(name);
    }
    network.destroy().await;
}
