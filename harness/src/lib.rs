//! Starts the five-database platform for real, breaks it on purpose, drives it through real clients, records what
//! happened, checks the record and measures it.
//!
//! Data flows once, left to right: a [`topology::Profile`] says what to start, [`topology::Ground`] starts it node by node
//! on the [`engine`], [`database`] and [`service`] hold typed handles of what runs, [`workload`] drives it and writes a
//! [`history`], [`fault`] breaks it with proof, and [`check`] decides from the history alone.
//!
//! This crate knows nothing of clauses, verdicts or reports.

pub mod check;
pub mod database;
pub mod engine;
pub mod fault;
pub mod history;
pub mod measure;
pub mod network;
pub mod patience;
pub mod places;
pub mod platform;
pub mod security;
pub mod service;
pub mod sim;
pub mod topology;
pub mod volume;
pub mod watchdog;
pub mod workload;
