//! What a pool may ask of its provider, and of whoever gives it new keys: the settings, nothing of the doing.

use std::time::Duration;

/// How long a provider is waited for where the settings do not say.
pub const VERIFY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a command that makes a key is waited for where the settings do not say.
pub const GENERATE_TIMEOUT: Duration = Duration::from_secs(120);

/// What stands for the key in a header's template.
pub const API_KEY: &str = "{api_key}";

/// How the provider of a pool's keys is asked whether one is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verify {
    /// The address, asked with GET: `https://`, or `http://` on this machine.
    pub url: String,
    /// The name of the header that holds the key.
    pub header: String,
    /// Its value, with [`API_KEY`] in the key's place.
    pub template: String,
    /// The member of the answer, a JSON object, that names the credits.
    pub credits: String,
    /// How long the provider has to answer.
    pub timeout: Duration,
    /// The pause between two passes over the keys that reports disabled; None = there are none.
    pub sweep: Option<Duration>,
}

impl Verify {
    /// Asking this address, the rest as the settings have it by default.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            header: "Authorization".to_owned(),
            template: format!("Bearer {API_KEY}"),
            credits: "credits".to_owned(),
            timeout: VERIFY_TIMEOUT,
            sweep: None,
        }
    }
}

/// The command that makes a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generate {
    /// The program.
    pub program: String,
    /// Its arguments, exactly as they are: there is no shell.
    pub arguments: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
}

/// All of it, for one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provider {
    /// How a key is verified; None = it cannot be.
    pub verify: Option<Verify>,
    /// What makes a key; None = a person is asked for one.
    pub generate: Option<Generate>,
    /// Below so many usable keys the pool asks for one by itself; None = never.
    pub low_water: Option<u32>,
}

impl Provider {
    /// That of Stability AI: its balance tells whether a key is alive.
    pub fn stability() -> Self {
        Self { verify: Some(Verify::at("https://api.stability.ai/v1/user/balance")), ..Self::default() }
    }
}
