//! The Celery example, run as people run it: through an overload, with the valves open, and out of it.

use lapin::types::AMQPValue;

use crate::broker::Broker;
use crate::ledger::{Kind, long};
use crate::shop::{ADMITTED, Shop};

/// One row of the table that `examples/celery/run.sh` prints.
struct Row {
    offered: u32,
    done: u32,
    on_time: u32,
    late: u32,
    shed: u32,
    in_work: u32,
    admitted: u32,
    held: u32,
    oldest_ms: u32,
}

impl Row {
    fn read(line: &str) -> Option<Self> {
        let cells: Vec<u32> = line
            .split('|')
            .filter_map(|cell| cell.trim().parse().ok())
            .collect();
        let [
            _,
            offered,
            done,
            on_time,
            late,
            shed,
            in_work,
            admitted,
            held,
            oldest_ms,
        ] = cells[..]
        else {
            return None;
        };
        Some(Self {
            offered,
            done,
            on_time,
            late,
            shed,
            in_work,
            admitted,
            held,
            oldest_ms,
        })
    }
}

#[test]
fn the_example_runs_through_overload_skip_and_recovery() {
    let shop = Shop::open(Broker::shared(), "example");
    shop.ledger.declare(
        ADMITTED,
        Kind::Classic,
        &[
            ("x-max-length", AMQPValue::LongInt(4)),
            ("x-overflow", long("reject-publish")),
        ],
    );
    let mut said = String::new();
    let most = shop.most_admitted(|| said = shop.example(5));
    assert!(most <= 4, "{most} were ready of 4 slots");
    let (rush, rest) = said
        .split_once("-- max_age")
        .unwrap_or_else(|| panic!("{said}"));
    let (valves, _) = rest
        .split_once("-- the valves are closed")
        .unwrap_or_else(|| panic!("{said}"));
    let rows = |part: &str| -> Vec<Row> { part.lines().filter_map(Row::read).collect() };
    let (rush, valves, all) = (rows(rush), rows(valves), rows(&said));
    assert!(all.len() >= 20, "{said}");
    for row in &all {
        assert!(row.admitted <= 4 && row.held <= 4, "{said}");
    }
    // Nothing is turned yet: jobs pile up in front of the gate, not behind it, and grow old there.
    let last = rush.last().unwrap();
    assert!(
        rush.iter().any(|row| row.offered > 60) && last.in_work > 100 && last.oldest_ms > 1_500,
        "{said}"
    );
    // The valves are open, and what was there is shed: all that is done is on time, and was picked up young.
    let steady = &valves[2..];
    let sum = |rows: &[Row], of: fn(&Row) -> u32| rows.iter().map(of).sum::<u32>();
    assert!(
        sum(steady, |row| row.shed) > 100 && sum(steady, |row| row.late) == 0,
        "{said}"
    );
    assert!(
        sum(steady, |row| row.on_time) >= 15 * u32::try_from(steady.len()).unwrap(),
        "{said}"
    );
    assert!(
        steady.iter().all(|row| row.oldest_ms < 2_000 + 700),
        "{said}"
    );
    // The rush is over, and so are the valves: everything is done, young and on time.
    let calm = &all[all.len() - 2..];
    assert!(
        calm.iter().all(|row| row.shed == 0
            && row.late == 0
            && row.done > 10
            && row.in_work < 10
            && row.oldest_ms < 1_000),
        "{said}"
    );
}
