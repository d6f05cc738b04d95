//! Who may pass: the compiled permission set and the decision.
