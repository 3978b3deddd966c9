"""Measure how fast this machine trains, loads, predicts and starts, and how soon a recipe is good enough."""
