"""Budgets and limits shared by all gateways: one process, one writer, group commits."""
