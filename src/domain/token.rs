//! The token: who may ask for what. Only the digest of its text is known here.

use std::fmt;
use std::num::NonZeroU32;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::hex::{parse_hex, write_hex};
use super::pool::PoolName;
use super::timestamp::Timestamp;

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Find, lease, report, count.
    Service,
    /// See policies and stats.
    Stats,
    /// All of it, and change keys.
    Admin,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Service, Self::Stats, Self::Admin];

    /// The configured and shown word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Stats => "stats",
            Self::Admin => "admin",
        }
    }

    /// The role of this word; None for another text.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// The text of a token, as a caller sends it. `Debug` is redacted.
#[derive(Clone)]
pub struct TokenSecret(SecretString);

impl TokenSecret {
    /// What new tokens begin with, so that a leaked one is recognised.
    pub const PREFIX: &'static str = "klt_";

    /// Takes what a caller sent.
    pub fn new(text: &str) -> Self {
        Self(SecretString::from(text))
    }

    /// A new token: 256 random bits, which must come from a cryptographic source.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        let mut text = Self::PREFIX.to_owned();
        // Writing to a String cannot fail.
        let _ = fmt::write(&mut text, format_args!("{}", Hex(&bytes)));
        Self(SecretString::from(text))
    }

    /// The text itself, for the person who is shown it once.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Its SHA-256.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest(Sha256::digest(self.0.expose_secret()).into())
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, self.0)
    }
}

/// The SHA-256 of a token's text. As text 64 lower-case hexadecimal digits.
#[derive(Clone, Copy)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of this text; None where it is not 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        parse_hex(&text.to_ascii_lowercase()).map(Self)
    }

    /// Compares in a time that does not tell how much of it is alike.
    fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// One caller: a name, what it may do, and in which pools.
#[derive(Clone, Debug)]
pub struct Token {
    name: String,
    roles: Vec<Role>,
    pools: Option<Vec<PoolName>>,
    digest: TokenDigest,
    until: Option<Timestamp>,
    requests_per_second: Option<NonZeroU32>,
}

/// Why a token cannot be taken. The messages never repeat what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidToken {
    /// The name has another shape.
    #[error("a token's name is 1 to 64 of a-z, A-Z, 0-9, _, - and .")]
    Name,
    /// No role, or an unknown one.
    #[error("a token's roles are one or more of service, stats, admin, with + between them")]
    Roles,
    /// An unknown shape of a pool's name, or none after the @.
    #[error("after @ a token names its pools, with + between them")]
    Pools,
    /// The digest has another shape.
    #[error("a token is given as the SHA-256 of its text, 64 hexadecimal digits; keylend token new makes one")]
    Digest,
    /// Its end is no day and no instant.
    #[error("a token's end is a day, such as 2026-12-31, or an instant, such as 2026-12-31T12:00:00Z")]
    Until,
    /// The whole has another shape.
    #[error("a token is NAME:ROLE+ROLE[@POOL+POOL]:SHA256[:UNTIL]; keylend token new makes one")]
    Shape,
}

impl Token {
    /// A token. `pools` None = every pool.
    ///
    /// # Errors
    /// Says which part of it has not its shape.
    pub fn new(
        name: &str,
        roles: Vec<Role>,
        pools: Option<Vec<PoolName>>,
        digest: TokenDigest,
    ) -> Result<Self, InvalidToken> {
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        if !fits {
            return Err(InvalidToken::Name);
        }
        if roles.is_empty() {
            return Err(InvalidToken::Roles);
        }
        if pools.as_ref().is_some_and(Vec::is_empty) {
            return Err(InvalidToken::Pools);
        }
        Ok(Self { name: name.to_owned(), roles, pools, digest, until: None, requests_per_second: None })
    }

    /// The same token, asking so often at most; None = as often as it likes.
    pub fn at_most(self, requests_per_second: Option<NonZeroU32>) -> Self {
        Self { requests_per_second, ..self }
    }

    /// How often it may ask; None = as often as it likes.
    pub fn requests_per_second(&self) -> Option<NonZeroU32> {
        self.requests_per_second
    }

    /// The same token, good until then; None = without an end.
    pub fn until(self, until: Option<Timestamp>) -> Self {
        Self { until, ..self }
    }

    /// The end that a text names: an instant, or a day, whose last moment it is, by UTC.
    pub fn parse_until(text: &str) -> Option<Timestamp> {
        text.parse().ok().or_else(|| format!("{text}T23:59:59.999Z").parse().ok())
    }

    /// When it ends; None = never.
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.until
    }

    /// Whether it is of no use any more.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until < now)
    }

    /// The token of an entry `name:role+role[@pool+pool]:sha256hex[:until]`.
    ///
    /// # Errors
    /// As [`Token::new`].
    pub fn parse(entry: &str) -> Result<Self, InvalidToken> {
        let mut parts = entry.trim().splitn(4, ':');
        let (Some(name), Some(rights), Some(digest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidToken::Shape);
        };
        let until = parts.next().map(|text| Self::parse_until(text).ok_or(InvalidToken::Until)).transpose()?;
        let (roles, pools) = match rights.split_once('@') {
            Some((roles, pools)) => (roles, Some(pools)),
            None => (rights, None),
        };
        let roles: Option<Vec<Role>> = roles.split('+').map(Role::of_word).collect();
        let pools =
            pools.map(|pools| pools.split('+').map(|pool| pool.parse().ok()).collect::<Option<Vec<PoolName>>>());
        let pools = pools.map(|pools| pools.ok_or(InvalidToken::Pools)).transpose()?;
        let digest = TokenDigest::parse(digest).ok_or(InvalidToken::Digest)?;
        Ok(Self::new(name, roles.ok_or(InvalidToken::Roles)?, pools, digest)?.until(until))
    }

    /// The entry for the settings, which holds no secret.
    pub fn entry(&self) -> String {
        let roles: Vec<&str> = self.roles.iter().map(|role| role.as_str()).collect();
        let pools = match &self.pools {
            Some(pools) => format!("@{}", pools.iter().map(PoolName::as_str).collect::<Vec<_>>().join("+")),
            None => String::new(),
        };
        let until = self.until.map_or_else(String::new, |until| format!(":{until}"));
        format!("{}:{}{pools}:{}{until}", self.name, roles.join("+"), self.digest)
    }

    /// Its name, which goes into leases and the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its roles, as they were given.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// The SHA-256 of its text.
    pub fn digest(&self) -> TokenDigest {
        self.digest
    }

    /// The pools that it is bound to; None = every pool.
    pub fn pools(&self) -> Option<&[PoolName]> {
        self.pools.as_deref()
    }

    /// Whether it may do what needs `role`; admin is all roles.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role) || self.roles.contains(&Role::Admin)
    }

    /// Whether it may do it in this pool.
    pub fn reaches(&self, pool: &str) -> bool {
        self.pools.as_ref().is_none_or(|pools| pools.iter().any(|own| own.as_str() == pool))
    }
}

/// All tokens. None at all means that callers need none.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// These tokens.
    pub fn new(tokens: Vec<Token>) -> Self {
        Self(tokens)
    }

    /// Whether callers need none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order of the settings.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.0.iter()
    }

    /// The token of this text; None where there is none. Looks at all of them, whichever fits.
    pub fn find(&self, secret: &TokenSecret) -> Option<&Token> {
        let digest = secret.digest();
        self.0.iter().fold(None, |found, token| if token.digest.is(&digest) { found.or(Some(token)) } else { found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> String {
        TokenSecret::new(text).digest().to_string()
    }

    #[test]
    fn an_entry_and_its_token_are_one_to_one() {
        for entry in
            [format!("web:service:{}", digest("a")), format!("bot.1:stats+service@stability+plant-id:{}", digest("b"))]
        {
            assert_eq!(Token::parse(&entry).expect("valid").entry(), entry);
        }
        let upper = format!(" web:admin:{} ", digest("a").to_ascii_uppercase());
        assert_eq!(Token::parse(&upper).expect("valid").entry(), format!("web:admin:{}", digest("a")));
    }

    #[test]
    fn a_token_is_good_until_its_end() {
        let token = |until: &str| Token::parse(&format!("web:service:{}:{until}", digest("a"))).expect("valid");
        let ended = |until: &str, now: &str| token(until).has_ended(now.parse().expect("valid"));
        assert!(!ended("2026-12-31", "2026-12-31T23:59:59.999Z") && ended("2026-12-31", "2027-01-01T00:00:00.000Z"));
        let noon = "2026-12-31T12:00:00+01:00";
        assert!(!ended(noon, "2026-12-31T11:00:00.000Z") && ended(noon, "2026-12-31T11:00:00.001Z"));
        let entry = token(noon).entry();
        assert!(entry.ends_with(":2026-12-31T11:00:00.000Z") && Token::parse(&entry).expect("valid").entry() == entry);
        let endless = Token::parse(&format!("web:service:{}", digest("a"))).expect("valid");
        assert!(!endless.has_ended(Timestamp::from_millis(i64::MAX)) && endless.ends_at().is_none());
    }

    #[test]
    fn an_entry_of_another_shape_is_told_by_its_part() {
        let sha = digest("a");
        for (entry, why) in [
            ("".to_owned(), InvalidToken::Shape),
            (format!("web:service:{sha}:more"), InvalidToken::Until),
            (format!("web:service:{sha}:2026-13-01"), InvalidToken::Until),
            (format!("web:{sha}"), InvalidToken::Shape),
            (format!(":service:{sha}"), InvalidToken::Name),
            (format!("a b:service:{sha}"), InvalidToken::Name),
            (format!("{}:service:{sha}", "x".repeat(65)), InvalidToken::Name),
            (format!("web::{sha}"), InvalidToken::Roles),
            (format!("web:root:{sha}"), InvalidToken::Roles),
            (format!("web:service+:{sha}"), InvalidToken::Roles),
            (format!("web:service@:{sha}"), InvalidToken::Pools),
            (format!("web:service@A:{sha}"), InvalidToken::Pools),
            ("web:service:hush".to_owned(), InvalidToken::Digest),
            (format!("web:service:{}", &sha[1..]), InvalidToken::Digest),
        ] {
            assert_eq!(Token::parse(&entry).expect_err(&entry), why, "{entry}");
        }
    }

    #[test]
    fn admin_is_all_roles_and_pools_bind() {
        let token = |rights: &str| Token::parse(&format!("t:{rights}:{}", digest("t"))).expect("valid");
        for (rights, roles) in [
            ("service", [true, false, false]),
            ("stats", [false, true, false]),
            ("service+stats", [true, true, false]),
            ("admin", [true, true, true]),
        ] {
            assert_eq!(Role::ALL.map(|role| token(rights).has(role)), roles, "{rights}");
        }
        assert!(token("service").reaches("anything"));
        let bound = token("service@stability+plantid");
        assert!(bound.reaches("stability") && bound.reaches("plantid") && !bound.reaches("healthid"));
    }

    #[test]
    fn a_token_is_found_by_its_text_alone() {
        let secret = TokenSecret::from_random([9; 32]);
        assert!(secret.expose().starts_with("klt_") && secret.expose().len() == 68);
        assert_eq!(format!("{secret:?} {:?}", secret.digest()), "TokenSecret(..) TokenDigest(..)");
        let tokens = Tokens::new(vec![
            Token::parse(&format!("one:stats:{}", digest("x"))).expect("valid"),
            Token::parse(&format!("two:service:{}", secret.digest())).expect("valid"),
        ]);
        assert_eq!(tokens.find(&secret).map(Token::name), Some("two"));
        assert!(tokens.find(&TokenSecret::new("")).is_none());
        assert!(tokens.find(&TokenSecret::new(&secret.digest().to_string())).is_none());
        assert!(Tokens::default().is_empty() && !tokens.is_empty());
    }
}
