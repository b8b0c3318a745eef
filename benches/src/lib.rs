//! Benchmarks of the harness itself; they are in `benches/`. What they gate is the cost of measuring, not the databases.
