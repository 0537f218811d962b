"""Benchmarks; figures are written to bench/results and never asserted in tests."""
