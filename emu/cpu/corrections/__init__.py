"""Instructions that Unicorn executes wrongly: found (`find_*`), and computed on the host or refused."""
