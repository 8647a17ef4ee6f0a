//! `keylend completions`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Failure, output};

pub(super) const EXAMPLES: &str = "Examples:
  keylend completions bash > ~/.local/share/bash-completion/completions/keylend
  keylend completions zsh > ~/.zfunc/_keylend
  keylend completions fish > ~/.config/fish/completions/keylend.fish";

#[derive(Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionsArguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::Arguments::command(), "keylend", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())
}
