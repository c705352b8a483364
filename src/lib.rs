//! Sluicegate: an operational control panel for queues.
//!
//! A daemon that takes RabbitMQ queues in hand beside their workers, and lets an operator open and close safety valves on the
//! traffic, live. This page is the map.
#![forbid(unsafe_code)]

pub mod amqp;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod guard;
pub mod memory;
pub mod metrics;
pub mod rules;
pub mod seams;
pub mod store;
pub mod supervise;
pub mod targets;
pub mod throttle;
pub mod vitals;
pub mod worker;
