//! `keylend keys`: one command a file.

mod add;
mod change;
mod encrypt;
mod export;
mod find;
mod flask;
mod generate;
mod import;
mod list;
mod named;
mod remove;
mod requests;
mod reset;
mod shown;
mod verify;

use clap::{Args, Subcommand};

use super::Failure;
use crate::config::Settings;

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// Add keys: typed when asked for, or one per line on standard input
    #[command(after_help = add::EXAMPLES)]
    Add(add::AddArguments),
    /// Add the keys of a file, one per line, or as they were exported
    #[command(after_help = import::EXAMPLES)]
    Import(import::ImportArguments),
    /// Write all keys of a pool with their secrets, one JSON object a line, as import takes them again
    #[command(after_help = export::EXAMPLES)]
    Export(export::ExportArguments),
    /// List keys, masked
    #[command(after_help = list::EXAMPLES)]
    List(list::ListArguments),
    /// Find the key to use next; stamps it, as a service's call does
    #[command(after_help = find::EXAMPLES)]
    Find(find::FindArguments),
    /// Show all that is stored of keys, masked
    #[command(after_help = shown::EXAMPLES)]
    Show(named::NamedKeys),
    /// Switch keys on
    #[command(after_help = change::ENABLE_EXAMPLES)]
    Enable(named::NamedKeys),
    /// Switch keys off
    #[command(after_help = change::DISABLE_EXAMPLES)]
    Disable(named::NamedKeys),
    /// Let keys rest for a while, or end their rest
    #[command(after_help = change::REST_EXAMPLES)]
    Rest(change::RestArguments),
    /// Set the counts of keys to 0, as for a new month
    #[command(after_help = reset::EXAMPLES)]
    Reset(reset::ResetArguments),
    /// Ask the provider whether keys are alive
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArguments),
    /// Have a key made, or ask a person for one
    #[command(after_help = generate::EXAMPLES)]
    Generate(generate::GenerateArguments),
    /// Show the keys that people were asked for
    #[command(after_help = requests::EXAMPLES)]
    Requests(requests::RequestsArguments),
    /// Encrypt the secrets of a pool where they are stored
    #[command(after_help = encrypt::ENCRYPT_EXAMPLES)]
    Encrypt(encrypt::EncryptArguments),
    /// Store the secrets of a pool as they are again
    #[command(after_help = encrypt::DECRYPT_EXAMPLES)]
    Decrypt(encrypt::EncryptArguments),
    /// Encrypt what an older key encrypted with the first one
    #[command(after_help = encrypt::ROTATE_EXAMPLES)]
    Rotate(encrypt::EncryptArguments),
    /// Take keys out of the pool for good
    #[command(after_help = remove::EXAMPLES)]
    Remove(remove::RemoveArguments),
}

#[derive(Args)]
struct PoolArguments {
    /// The pool
    #[arg(long, default_value = "stability")]
    pool: String,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(settings: &Settings, command: KeysCommand) -> Result<(), Failure> {
    match command {
        KeysCommand::Add(arguments) => add::run(settings, arguments).await,
        KeysCommand::Import(arguments) => import::run(settings, arguments).await,
        KeysCommand::Export(arguments) => export::run(settings, arguments).await,
        KeysCommand::List(arguments) => list::run(settings, arguments).await,
        KeysCommand::Find(arguments) => find::run(settings, arguments).await,
        KeysCommand::Show(arguments) => shown::run(settings, arguments).await,
        KeysCommand::Enable(arguments) => change::enable(settings, arguments).await,
        KeysCommand::Disable(arguments) => change::disable(settings, arguments).await,
        KeysCommand::Rest(arguments) => change::rest(settings, arguments).await,
        KeysCommand::Reset(arguments) => reset::run(settings, arguments).await,
        KeysCommand::Verify(arguments) => verify::run(settings, arguments).await,
        KeysCommand::Generate(arguments) => generate::run(settings, arguments).await,
        KeysCommand::Requests(arguments) => requests::run(settings, arguments).await,
        KeysCommand::Encrypt(arguments) => encrypt::encrypt(settings, arguments).await,
        KeysCommand::Decrypt(arguments) => encrypt::decrypt(settings, arguments).await,
        KeysCommand::Rotate(arguments) => encrypt::rotate(settings, arguments).await,
        KeysCommand::Remove(arguments) => remove::run(settings, arguments).await,
    }
}
