//! Those who give keys: the provider, who is asked whether one is alive, and the command that makes one. Both are the
//! outside: they get so long and may say so much, and nothing that they say of a secret is repeated.

mod generate;
mod verify;

#[doc(hidden)]
pub use generate::understand;
pub use generate::{GenerateError, Made, make};
#[doc(hidden)]
pub use verify::credits;
pub use verify::{Unsaid, ask};
