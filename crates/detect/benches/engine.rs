//! What detection costs a request, and a second: `cargo bench -p saqta-detect`.
//!
//! Times need the machine to themselves. `cargo x bench --instructions` counts the same work in instructions, which do not.

#[path = "../examples/engine/site.rs"]
mod site;

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use saqta_detect::engine::Scarce;

fn observe(criterion: &mut Criterion) {
    let traffic = site::Traffic::new();
    let mut group = criterion.benchmark_group("observe");
    group.throughput(Throughput::Elements(site::READERS_PER_S as u64));
    group.bench_function("calm", |bencher| {
        let (mut engine, mut second) = (traffic.learned(), site::CALM_S);
        bencher.iter(|| {
            traffic.calm(&mut engine, second);
            engine.tick(second, Scarce::NOTHING);
            second += 1;
        });
    });
    group.throughput(Throughput::Elements(
        (site::READERS_PER_S + site::FLOOD_PER_S) as u64,
    ));
    group.bench_function("flood", |bencher| {
        let (mut engine, mut second) = traffic.with_rule();
        bencher.iter(|| {
            traffic.flood(&mut engine, second);
            engine.tick(second, site::ORIGIN);
            second += 1;
        });
    });
    group.finish();
}

fn search(criterion: &mut Criterion) {
    let traffic = site::Traffic::new();
    let mut group = criterion.benchmark_group("tick");
    // Each needs a site that has learned and is flooded.
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(10));
    group.bench_function("search", |bencher| {
        bencher.iter_batched(
            || traffic.before_search(),
            |(mut engine, second)| {
                engine.tick(second, site::ORIGIN);
                engine
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, observe, search);
criterion_main!(benches);
