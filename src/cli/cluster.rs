//! Finds the installed PostgreSQL and runs throw-away clusters: for the demo and the tests.
