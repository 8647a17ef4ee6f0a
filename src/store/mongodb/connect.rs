//! The connection: what the service needs of it is forced over what the URI says.

use std::fmt;
use std::time::Duration;

use mongodb::error::ErrorKind;
use mongodb::options::{
    Acknowledgment, ClientOptions, ConnectionString, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Database};
use secrecy::{ExposeSecret, SecretString};

use crate::store::StoreError;

/// The database where neither the settings nor the URI name one.
const DATABASE: &str = "keylend";

/// How many operations go on at the same time where the URI has no `maxPoolSize`: the driver's own default.
const AT_ONCE: u32 = 10;

/// A connection string. It can hold a password: `Debug` is redacted, and there is no `Display`.
#[derive(Clone)]
pub struct MongoUri(SecretString);

impl MongoUri {
    /// Takes the text as it is; it is understood when it is first used.
    pub fn new(text: &str) -> Self {
        Self(SecretString::from(text))
    }

    /// Whether it is a connection string at all; nothing is looked up or asked for it.
    pub fn is_well_formed(&self) -> bool {
        ConnectionString::parse(self.0.expose_secret()).is_ok()
    }
}

impl fmt::Debug for MongoUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MongoUri(..)")
    }
}

/// The driver, set up.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) database: Database,
    /// How many operations may go on at the same time.
    pub(super) at_once: usize,
}

pub(super) async fn connect(
    uri: &MongoUri,
    database: Option<&str>,
    time_limit: Duration,
) -> Result<Connected, StoreError> {
    // The driver's message can repeat parts of the URI, and so a password: it is not passed on.
    let unusable = || {
        StoreError::Unusable(
            "MONGODB_URI is no connection string that can be used: it looks like mongodb://HOST:27017/DATABASE, with \
             special characters of a password percent-encoded"
                .to_owned(),
        )
    };
    let parsed = ClientOptions::parse(uri.0.expose_secret()).await;
    let mut options = parsed.map_err(|error| match *error.kind {
        // The addresses behind a mongodb+srv:// name are looked up here.
        ErrorKind::DnsResolve { .. } => {
            StoreError::Away("the host of MONGODB_URI could not be looked up in DNS".into())
        }
        _ => unusable(),
    })?;
    options.app_name.get_or_insert_with(|| "keylend".to_owned());
    // A count that was acknowledged survives the loss of a server: a majority has it, in its journal.
    options.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.retry_writes = Some(true);
    options.server_selection_timeout = Some(time_limit);
    options.connect_timeout = Some(time_limit);
    // Nobody may wait inside the driver for a connection: one who gives up there stays in the driver's line, which
    // moves on by one for each that joins it. After a stall of seconds it held up everybody for minutes. So whoever
    // asks gets a connection at once, and the pools see to it that no more ask than this.
    let at_once = options.max_pool_size.replace(u32::MAX).unwrap_or(AT_ONCE);
    options.max_connecting = Some(u32::MAX);
    let named = database.map(str::to_owned).or_else(|| options.default_database.clone());
    let client = Client::with_options(options).map_err(|_| unusable())?;
    let database = client.database(named.as_deref().unwrap_or(DATABASE));
    Ok(Connected { client, database, at_once: at_once as usize })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_does_not_show_its_password() {
        assert_eq!(format!("{:?}", MongoUri::new("mongodb://me:hush@host/")), "MongoUri(..)");
    }

    #[tokio::test]
    async fn the_guarantees_are_forced_over_the_uri() {
        let uri =
            MongoUri::new("mongodb://127.0.0.1:1/mine?w=0&journal=false&retryWrites=false&readPreference=secondary");
        let database = connect(&uri, None, Duration::from_secs(1)).await.expect("valid").database;
        let concern = database.write_concern().expect("set");
        assert_eq!((concern.w.clone(), concern.journal), (Some(Acknowledgment::Majority), Some(true)));
        assert!(matches!(
            database.selection_criteria(),
            Some(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        ));
        assert_eq!(database.name(), "mine");
    }

    #[tokio::test]
    async fn the_database_is_the_settings_then_the_uris_then_keylend() {
        for (uri, setting, expected) in [
            ("mongodb://127.0.0.1:1/mine", Some("other"), "other"),
            ("mongodb://127.0.0.1:1/mine", None, "mine"),
            ("mongodb://127.0.0.1:1/", None, "keylend"),
        ] {
            let connected = connect(&MongoUri::new(uri), setting, Duration::from_secs(1)).await.expect("valid");
            assert_eq!(connected.database.name(), expected);
        }
    }

    #[tokio::test]
    async fn the_uri_says_how_many_operations_go_on_at_once() {
        for (uri, expected) in [("mongodb://127.0.0.1:1/?maxPoolSize=3", 3), ("mongodb://127.0.0.1:1/", 10)] {
            let connected = connect(&MongoUri::new(uri), None, Duration::from_secs(1)).await.expect("valid");
            assert_eq!(connected.at_once, expected);
        }
    }

    #[tokio::test]
    async fn a_bad_uri_is_told_without_repeating_it() {
        let error =
            connect(&MongoUri::new("mongodb://me:hu sh@@/"), None, Duration::from_secs(1)).await.err().expect("bad");
        assert!(error.chain().contains("MONGODB_URI") && !error.chain().contains("hu sh"), "{}", error.chain());
    }
}
