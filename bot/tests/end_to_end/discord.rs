//! A server that speaks as Discord does, as far as the bot hears of it: HTTP on one port, the gateway on another.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::PATIENCE;

/// What the bot's token looks like.
pub const TOKEN: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GhIjKl.a-token-that-is-told-to-nobody-0123456";
pub const APPLICATION: &str = "123456789012345678";
pub const CHANNEL: &str = "400000000000000001";
const GUILD: &str = "300000000000000001";
const PERSON: &str = "200000000000000001";

/// A request of the bot.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    /// Without `/api/v10`.
    pub path: String,
    /// JSON; null without one.
    pub body: Value,
}

/// A payload of the bot on the gateway.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The number of the connection it came on, from 1.
    pub connection: usize,
    pub op: u64,
    pub data: Value,
}

/// All that the bot did.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub calls: Vec<Call>,
    pub frames: Vec<Frame>,
    /// Connections to the gateway, those that came to nothing among them.
    pub connections: usize,
    /// Connections that the bot closed well.
    pub goodbyes: usize,
}

impl Seen {
    /// The calls of this method on paths that end so.
    pub fn calls_of(&self, method: &str, end: &str) -> Vec<&Call> {
        self.calls.iter().filter(|call| call.method == method && call.path.ends_with(end)).collect()
    }

    /// The payloads of this kind.
    pub fn frames_of(&self, op: u64) -> Vec<&Frame> {
        self.frames.iter().filter(|frame| frame.op == op).collect()
    }

    /// What the bot was seen to watch, one after the other, with the connection it was said on.
    pub fn watched(&self) -> Vec<(usize, &str)> {
        self.frames_of(3)
            .into_iter()
            .map(|frame| (frame.connection, frame.data["activities"][0]["name"].as_str().unwrap()))
            .collect()
    }

    /// The texts of the messages that the bot sent.
    pub fn messages(&self) -> Vec<&Value> {
        self.calls_of("POST", "/messages").into_iter().map(|call| &call.body).collect()
    }
}

/// What is answered to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    Json(u16, Value),
    /// The same is to be asked of another address.
    Redirect(String),
    /// No answer, ever.
    Never,
}

/// What the gateway does on all connections that are open.
#[derive(Clone, Debug)]
pub enum Act {
    Send(Value),
    Dispatch(&'static str, Value),
    Close(u16),
    Drop,
}

/// How the gateway treats the bot.
#[derive(Clone, Debug)]
pub struct Manners {
    /// Whether there is a gateway; without, connections are closed at once.
    pub is_open: bool,
    /// Whether it answers who wants to speak WebSocket.
    pub shakes_hands: bool,
    /// Whether it says hello.
    pub says_hello: bool,
    /// Whether it answers heartbeats.
    pub acknowledges: bool,
    /// It closes a connection that identifies itself with this code; None = it welcomes the bot.
    pub refuses: Option<u16>,
    pub heartbeat_interval: u64,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            is_open: true,
            shakes_hands: true,
            says_hello: true,
            acknowledges: true,
            refuses: None,
            heartbeat_interval: 1000,
        }
    }
}

struct Shared {
    seen: watch::Sender<Seen>,
    manners: Mutex<Manners>,
    acts: broadcast::Sender<Act>,
    /// What is answered on paths that end so: the next times, and always.
    next: Mutex<HashMap<String, VecDeque<Reply>>>,
    always: Mutex<HashMap<String, Reply>>,
    gateway: String,
}

/// The server.
pub struct Discord {
    /// What DISCORD_API_BASE is set to.
    pub base: String,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Discord {
    pub async fn start() -> Self {
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", http.local_addr().unwrap());
        let shared = Arc::new(Shared {
            seen: watch::Sender::default(),
            manners: Mutex::default(),
            acts: broadcast::Sender::new(64),
            next: Mutex::default(),
            always: Mutex::default(),
            gateway: format!("ws://{}", gateway.local_addr().unwrap()),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_http(http, Arc::clone(&shared)));
        tasks.spawn(serve_gateway(gateway, Arc::clone(&shared)));
        Self { base, shared, _tasks: tasks }
    }

    /// Waits until the bot has done what is looked for.
    pub async fn until<T>(&self, what: &str, found: impl Fn(&Seen) -> Option<T>) -> T {
        let mut seen = self.shared.seen.subscribe();
        let waiting = async {
            loop {
                if let Some(found) = found(&seen.borrow_and_update()) {
                    return found;
                }
                seen.changed().await.unwrap();
            }
        };
        match timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("not seen: {what}; {:#?}", self.seen()),
        }
    }

    /// Waits until the bot is welcome and is seen to watch something.
    pub async fn until_watching(&self) -> String {
        self.until("a presence", |seen| Some(seen.watched().first()?.1.to_owned())).await
    }

    /// Waits until the bot is seen to watch this, as the last thing.
    pub async fn until_watched(&self, text: &str) {
        self.until(text, |seen| (seen.watched().last()?.1 == text).then_some(())).await;
    }

    /// Waits for so many messages of the bot.
    pub async fn until_messages(&self, count: usize) -> Vec<Value> {
        let enough =
            |seen: &Seen| (seen.messages().len() >= count).then(|| seen.messages().into_iter().cloned().collect());
        self.until("messages", enough).await
    }

    pub fn seen(&self) -> Seen {
        self.shared.seen.borrow().clone()
    }

    pub fn act(&self, act: Act) {
        self.shared.acts.send(act).expect("the bot is connected");
    }

    pub fn manners(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.shared.manners.lock().unwrap());
    }

    /// What is usually answered to who asks for the gateway.
    pub fn gateway_reply(&self) -> Reply {
        Reply::Json(200, json!({"url": self.shared.gateway}))
    }

    /// The next requests on a path that ends so are answered with these, each with one.
    pub fn answer_next(&self, end: &str, replies: impl IntoIterator<Item = Reply>) {
        self.shared.next.lock().unwrap().entry(end.to_owned()).or_default().extend(replies);
    }

    /// All requests on a path that ends so are answered with this; None = as Discord does.
    pub fn answer_always(&self, end: &str, reply: Option<Reply>) {
        let mut always = self.shared.always.lock().unwrap();
        match reply {
            Some(reply) => drop(always.insert(end.to_owned(), reply)),
            None => drop(always.remove(end)),
        }
    }

    /// Somebody writes a message.
    pub fn write(&self, content: &str) {
        self.act(Act::Dispatch("MESSAGE_CREATE", message(content, false)));
    }

    /// Another bot does.
    pub fn write_as_bot(&self, content: &str) {
        self.act(Act::Dispatch("MESSAGE_CREATE", message(content, true)));
    }

    /// Somebody uses a slash command; this token is good for the answer.
    pub fn command(&self, name: &str, token: &str) {
        self.act(Act::Dispatch("INTERACTION_CREATE", interaction(name, token)));
    }
}

async fn serve_http(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&shared, request));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let method = request.method().to_string();
    let path = request.uri().path().trim_start_matches("/api/v10").to_owned();
    let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let call = Call { method: method.clone(), path: path.clone(), body };
    shared.seen.send_modify(|seen| seen.calls.push(call));
    let next = {
        let mut next = shared.next.lock().unwrap();
        next.iter_mut().find(|(end, _)| path.ends_with(*end)).and_then(|(_, replies)| replies.pop_front())
    };
    let always = {
        let always = shared.always.lock().unwrap();
        always.iter().find(|(end, _)| path.ends_with(*end)).map(|(_, reply)| reply.clone())
    };
    let usual = || {
        if authorization.as_deref() != Some(&format!("Bot {TOKEN}")) {
            return Reply::Json(401, json!({"message": "401: Unauthorized", "code": 0}));
        }
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["gateway"]) => Reply::Json(200, json!({"url": shared.gateway})),
            ("PUT", ["applications", APPLICATION, "commands"]) => Reply::Json(200, json!([])),
            ("POST", ["channels", CHANNEL, "messages"]) => Reply::Json(200, message("", true)),
            ("POST", ["interactions", _, _, "callback"]) => Reply::Json(204, Value::Null),
            ("PATCH", ["webhooks", APPLICATION, _, "messages", "@original"]) => Reply::Json(200, message("", true)),
            _ => Reply::Json(404, json!({"message": "404: Not Found", "code": 0})),
        }
    };
    match next.or(always).unwrap_or_else(usual) {
        Reply::Json(status, body) => {
            let text = if body.is_null() { String::new() } else { body.to_string() };
            let mut response = Response::new(Full::from(text));
            *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
            response.headers_mut().insert("content-type", "application/json".parse().unwrap());
            Ok(response)
        }
        Reply::Redirect(to) => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = hyper::StatusCode::TEMPORARY_REDIRECT;
            response.headers_mut().insert("location", to.parse().unwrap());
            Ok(response)
        }
        Reply::Never => std::future::pending().await,
    }
}

async fn serve_gateway(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let mut number = 0;
        shared.seen.send_modify(|seen| {
            seen.connections += 1;
            number = seen.connections;
        });
        if shared.manners.lock().unwrap().is_open {
            connections.spawn(connection(stream, number, Arc::clone(&shared)));
        }
    }
}

/// One connection, from hello to the end.
async fn connection(stream: TcpStream, number: usize, shared: Arc<Shared>) {
    if !shared.manners.lock().unwrap().shakes_hands {
        return drop((stream, std::future::pending::<()>().await));
    }
    let mut acts = shared.acts.subscribe();
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let manners = shared.manners.lock().unwrap().clone();
    let mut sequence = 0;
    if manners.says_hello {
        let hello = json!({"op": 10, "d": {"heartbeat_interval": manners.heartbeat_interval}});
        send(&mut socket, &hello).await;
    }
    loop {
        let act = tokio::select! {
            act = acts.recv() => act.unwrap(),
            frame = socket.next() => {
                let Some(Ok(frame)) = frame else { return };
                if matches!(&frame, Message::Close(Some(frame)) if frame.code == 1000.into()) {
                    shared.seen.send_modify(|seen| seen.goodbyes += 1);
                }
                let Message::Text(text) = frame else { continue };
                let frame: Value = serde_json::from_str(&text).unwrap();
                let op = frame["op"].as_u64().unwrap();
                let seen = Frame { connection: number, op, data: frame["d"].clone() };
                shared.seen.send_modify(|all| all.frames.push(seen));
                let manners = shared.manners.lock().unwrap().clone();
                match op {
                    1 if manners.acknowledges => send(&mut socket, &json!({"op": 11})).await,
                    2 => {
                        if let Some(code) = manners.refuses {
                            return close(&mut socket, code).await;
                        }
                        dispatch(&mut socket, &mut sequence, "READY", ready(number)).await;
                        dispatch(&mut socket, &mut sequence, "GUILD_CREATE", guild()).await;
                    }
                    6 => {
                        sequence = frame["d"]["seq"].as_u64().unwrap();
                        dispatch(&mut socket, &mut sequence, "RESUMED", json!({})).await;
                    }
                    _ => {}
                }
                continue;
            }
        };
        match act {
            Act::Send(payload) => send(&mut socket, &payload).await,
            Act::Dispatch(event, data) => dispatch(&mut socket, &mut sequence, event, data).await,
            Act::Close(code) => return close(&mut socket, code).await,
            Act::Drop => return,
        }
    }
}

async fn send(socket: &mut WebSocketStream<TcpStream>, payload: &Value) {
    // The bot may be gone.
    let _ = socket.send(Message::Text(payload.to_string())).await;
}

async fn dispatch(socket: &mut WebSocketStream<TcpStream>, sequence: &mut u64, event: &str, data: Value) {
    *sequence += 1;
    send(socket, &json!({"op": 0, "t": event, "s": *sequence, "d": data})).await;
}

async fn close(socket: &mut WebSocketStream<TcpStream>, code: u16) {
    let frame = CloseFrame { code: code.into(), reason: "".into() };
    let _ = socket.close(Some(frame)).await;
    // Until the bot has said goodbye, too.
    while let Some(Ok(_)) = socket.next().await {}
}

fn ready(session: usize) -> Value {
    json!({
        "v": 10,
        "user": {"id": APPLICATION, "username": "keylend", "discriminator": "0", "avatar": null, "bot": true},
        "guilds": [{"id": GUILD, "unavailable": true}],
        "session_id": format!("session-{session}"),
        "resume_gateway_url": "ws://127.0.0.1:9",
        "application": {"id": APPLICATION, "flags": 0},
    })
}

fn guild() -> Value {
    let role = json!({
        "id": GUILD, "name": "@everyone", "color": 0, "colors": {"primary_color": 0}, "hoist": false, "managed": false,
        "position": 0, "permissions": "84992", "mentionable": false,
    });
    let channel = json!({
        "id": CHANNEL, "type": 0, "guild_id": GUILD, "name": "general", "position": 0, "permission_overwrites": [],
    });
    json!({
        "id": GUILD, "name": "a server", "owner_id": PERSON, "verification_level": 0,
        "default_message_notifications": 0, "explicit_content_filter": 0, "roles": [role], "emojis": [], "features": [],
        "mfa_level": 0, "system_channel_flags": 0, "premium_tier": 0, "preferred_locale": "en-US", "nsfw_level": 0,
        "stickers": [], "premium_progress_bar_enabled": false, "joined_at": "2026-01-02T03:04:05.000000+00:00",
        "large": false, "member_count": 1, "voice_states": [], "members": [], "channels": [channel], "threads": [],
        "presences": [], "stage_instances": [], "guild_scheduled_events": [],
    })
}

fn member() -> Value {
    json!({"roles": [], "deaf": false, "mute": false, "flags": 0, "joined_at": "2026-01-02T03:04:05.000000+00:00"})
}

/// A message as Discord tells of it.
pub fn message(content: &str, is_bot: bool) -> Value {
    json!({
        "id": "500000000000000001", "channel_id": CHANNEL, "guild_id": GUILD,
        "author": {"id": PERSON, "username": "somebody", "discriminator": "0", "avatar": null, "bot": is_bot},
        "member": member(), "content": content, "timestamp": "2026-01-02T03:04:05.000000+00:00",
        "edited_timestamp": null, "tts": false, "mention_everyone": false, "mentions": [], "mention_roles": [],
        "attachments": [], "embeds": [], "pinned": false, "type": 0,
    })
}

fn interaction(name: &str, token: &str) -> Value {
    let mut member = member();
    member["user"] = json!({"id": PERSON, "username": "somebody", "discriminator": "0", "avatar": null});
    member["permissions"] = json!("84992");
    json!({
        "id": "600000000000000001", "application_id": APPLICATION, "type": 2, "guild_id": GUILD, "member": member,
        "data": {"id": "700000000000000001", "name": name, "type": 1}, "channel_id": CHANNEL, "token": token,
        "version": 1, "locale": "en-US", "guild_locale": "en-US", "entitlements": [], "attachment_size_limit": 0,
        "app_permissions": "84992",
    })
}
