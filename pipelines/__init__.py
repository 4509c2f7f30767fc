"""What chains the steps: the graph as data, the runner for this machine, and the ``slipway`` command."""
