"""The endpoints of usage: people with their sums, reports, exports, prices, quotas."""
