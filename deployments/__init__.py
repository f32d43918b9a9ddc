"""What runs where and when: the platform, its worker, and the `pulsar` command."""
