//! The tests of the whole: the real program against a real RabbitMQ, and the laws of the house.
//!
//! One binary, so that all tests share one node of RabbitMQ: run it with `cargo test --test it`, or with `tests/run`, which
//! first installs what is needed. Tests are plain functions without async: what needs a runtime has its own, inside.
#![expect(
    clippy::disallowed_methods,
    reason = "a test of a running program waits by the clock on the wall"
)]

// The laws.
#[cfg(test)]
mod boards;
#[cfg(test)]
mod boards_live;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod laws_of_shipping;
#[cfg(test)]
mod manual;
#[cfg(test)]
mod runbooks;

// What must be survived: the rows of the catalogue of faults, by their numbers.
#[cfg(test)]
mod faults_broker;
#[cfg(test)]
mod faults_doors;
#[cfg(test)]
mod faults_messages;
#[cfg(test)]
mod faults_path;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod systemd;

// What the daemon does with a message, and what an operator does with the daemon.
#[cfg(test)]
mod admitted;
#[cfg(test)]
mod admitted_otherwise;
#[cfg(test)]
mod celery;
#[cfg(test)]
mod celery_example;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod deferring;
#[cfg(test)]
mod door;
#[cfg(test)]
mod lanes;
#[cfg(test)]
mod management;
#[cfg(test)]
mod nginx;
#[cfg(test)]
mod openfeature;
#[cfg(test)]
mod openings;
#[cfg(test)]
mod operators;
#[cfg(test)]
mod order;
#[cfg(test)]
mod preview;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod providers_by_smtp;
#[cfg(test)]
mod providers_die;
#[cfg(test)]
mod providers_keep_secrets;
#[cfg(test)]
mod providers_of_mail;
#[cfg(test)]
mod providers_told;
#[cfg(test)]
mod relief;
#[cfg(test)]
mod rollout_gem;
#[cfg(test)]
mod running;
#[cfg(test)]
mod settlement;
#[cfg(test)]
mod shares;
#[cfg(test)]
mod tap;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod topology;
#[cfg(test)]
mod valves;
#[cfg(test)]
mod who_may;

// The AMQP room alone.
#[cfg(test)]
mod amqp;
#[cfg(test)]
mod amqp_lanes;

// What the tests stand on.
#[cfg(test)]
mod broker;
#[cfg(test)]
mod daemon;
#[cfg(test)]
mod http;
#[cfg(test)]
mod keeper;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod mail_server;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod path;
#[cfg(test)]
mod promised;
#[cfg(test)]
mod promql;
#[cfg(test)]
mod reader;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod scrape;
#[cfg(test)]
mod shop;
#[cfg(test)]
mod worker;
