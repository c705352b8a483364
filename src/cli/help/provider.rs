//! What `--help` teaches of providers.

pub(in crate::cli) const PROVIDER: &str = "\
Examples:
  sluicegate provider list
  sluicegate provider pin mail sendgrid --for 1h --reason \"INC-481\" --yes
  sluicegate provider rest mailgun --for 30m --reason \"INC-481\"
  sluicegate provider pass mailgun --for 5m --reason \"they say it is mended\"
  sluicegate provider unknown
  sluicegate provider resolve done 17 18 --queue mail --reason \"the log of mailgun has them\"";

pub(in crate::cli) const PROVIDER_UNKNOWN: &str = "\
Examples:
  sluicegate provider unknown
  sluicegate provider unknown --provider mailgun --json

Each was sent, and no full answer came: look for its Message-ID in the provider's log, then say what came of it.";

pub(in crate::cli) const PROVIDER_RESOLVE: &str = "\
Examples:
  sluicegate provider resolve done 17 18 --queue mail --reason \"the log of mailgun has them\"
  sluicegate provider resolve again --all --provider mailgun --reason \"INC-481\"
  sluicegate provider resolve failed 19 --queue mail --reason \"no longer of use\"

again puts the message back from the park into its queue, with the same Message-ID and idempotency key.";

pub(in crate::cli) const PROVIDER_LIST: &str = "\
Examples:
  sluicegate provider list
  sluicegate provider list --json";

pub(in crate::cli) const PROVIDER_PIN: &str = "\
Examples:
  sluicegate provider pin mail sendgrid --for 1h --reason \"INC-481\" --yes
  sluicegate provider pin mail mailgun=90,sendgrid=10 --for 1d --reason \"warming it up\"
  sluicegate flag open pool.mail.provider sendgrid --when account=acme --for 1h --reason INC-482

This opens pool.POOL.provider, for 30m when nothing is said; the third line does so for one account.";

pub(in crate::cli) const PROVIDER_REST: &str = "\
Examples:
  sluicegate provider rest mailgun --reason \"INC-481\"
  sluicegate provider rest mailgun --for 2h --reason \"their maintenance\" --yes

This opens provider.PROVIDER.force. What is meant for it goes to the next one.";

pub(in crate::cli) const PROVIDER_PASS: &str = "\
Examples:
  sluicegate provider pass mailgun --for 5m --reason \"they say it is mended\"

This opens provider.PROVIDER.force. Its breaker goes on counting, and decides again at the end.";
