//! The alternatives, and what was found for them elsewhere: figures that they must reach here too.

use crate::others::{
    AdaptiveLifo, Aimd, Codel, Expiry, FacebookCodel, Nothing, Pie, Predict, Throttling,
};
use crate::queue::Valve;

/// A valve's name, how it is made, and what was found for it elsewhere at 1.1, 2, 5 and 10 times the load, for each kind of work.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) make: fn(u64) -> Box<dyn Valve>,
    pub(crate) found: [[Option<f64>; 4]; 3],
}

const fn found(
    constant: [f64; 3],
    exponential: [f64; 4],
    heavy: [f64; 3],
) -> [[Option<f64>; 4]; 3] {
    let [a, b, d] = constant;
    let [e, f, g, h] = exponential;
    let [i, j, l] = heavy;
    [
        [Some(a), Some(b), None, Some(d)],
        [Some(e), Some(f), Some(g), Some(h)],
        [Some(i), Some(j), None, Some(l)],
    ]
}

const UNKNOWN: [[Option<f64>; 4]; 3] = [[None; 4]; 3];

/// All of them.
pub(crate) const ROWS: [Row; 11] = [
    Row {
        name: "none",
        make: |_| Box::new(Nothing),
        found: found([0.0; 3], [0.0; 4], [0.0; 3]),
    },
    Row {
        name: "expiry (TTL)",
        make: |_| Box::new(Expiry),
        found: found(
            [80.0, 21.0, 0.0],
            [81.0, 52.0, 20.0, 10.0],
            [80.0, 78.0, 23.0],
        ),
    },
    Row {
        name: "predict, median",
        make: |_| Box::new(Predict::at(0.5)),
        found: found(
            [98.0, 100.0, 100.0],
            [87.0, 76.0, 60.0, 55.0],
            [81.0, 86.0, 59.0],
        ),
    },
    Row {
        name: "predict, p90",
        make: |_| Box::new(Predict::at(0.9)),
        found: found(
            [98.0, 100.0, 100.0],
            [91.0, 96.0, 91.0, 92.0],
            [81.0, 96.0, 91.0],
        ),
    },
    Row {
        name: "CoDel, RFC 8289",
        make: |_| Box::new(Codel::new()),
        found: found([88.0, 43.0, 1.0], [75.0, 34.0, 4.0, 1.0], [56.0, 33.0, 1.0]),
    },
    Row {
        name: "CoDel, Facebook",
        make: |_| Box::new(FacebookCodel::of(1)),
        found: found(
            [86.0, 96.0, 100.0],
            [81.0, 94.0, 98.0, 100.0],
            [72.0, 90.0, 98.0],
        ),
    },
    Row {
        name: "adaptive LIFO + expiry",
        make: |_| Box::new(AdaptiveLifo::new()),
        found: found(
            [92.0, 100.0, 100.0],
            [88.0, 99.0, 100.0, 100.0],
            [79.0, 96.0, 94.0],
        ),
    },
    Row {
        name: "PIE, RFC 8033",
        make: |seed| Box::new(Pie::at_tail(seed)),
        found: found(
            [89.0, 95.0, 20.0],
            [79.0, 81.0, 36.0, 22.0],
            [67.0, 70.0, 25.0],
        ),
    },
    Row {
        name: "PIE, asked at the head",
        make: |seed| Box::new(Pie::at_head(seed)),
        found: UNKNOWN,
    },
    Row {
        name: "SRE throttling, K = 2",
        make: |seed| Box::new(Throttling::new(seed)),
        found: found(
            [48.0, 31.0, 29.0],
            [43.0, 32.0, 33.0, 28.0],
            [37.0, 27.0, 27.0],
        ),
    },
    Row {
        name: "AIMD on misses",
        make: |seed| Box::new(Aimd::new(seed)),
        found: found(
            [73.0, 71.0, 52.0],
            [64.0, 64.0, 58.0, 51.0],
            [43.0, 45.0, 46.0],
        ),
    },
];
