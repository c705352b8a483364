//! What `relieve --help` teaches.

pub(in crate::cli) const RELIEVE: &str = "\
Examples:
  sluicegate relieve orders --deadline 30s --reason \"INC-481\"
  sluicegate relieve orders --deadline 30s --reason \"INC-481\" --dry-run
  sluicegate relieve orders --for 30m --reason \"INC-481\"
  sluicegate relieve orders --until \"on-time >= 98% for 10m, at most 8h\" -r INC-481
  sluicegate relieve orders --skip 60% --reason \"INC-481\" --yes

For a queue that gets more than its workers can do, so that every job is done too late. It opens, as one:
  max_age    what can no longer be done before the deadline goes first, also out of the backlog
  skip_mode  auto: then what the workers cannot do; with --skip that share goes by lot instead
Nothing else is touched: protected messages stay, and what is shed is parked unless the file says otherwise.

It lets go by itself, in steps over 5 minutes: once the queue is well without help (`--until on-time …`), or
at its time. If its end would hurt then, because the load is still there, it lasts once as long again, and
says so. Without --reason, in a terminal, it shows first what it would do, and asks.

Then look at ON TIME and SHED/S in `sluicegate queue list`.";
