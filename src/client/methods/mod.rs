//! One method per RPC: takes the message of a command and names the arguments of a read, and says
//! whether the call may be repeated.
//!
//! A command is given its request_id apart from its message, and whatever the message says in that
//! place is replaced: the id is the retry identity, and belongs to the call. A command with
//! `validate_only` changes nothing; it is repeated like a read and needs no id.
//!
//! Knows nothing of nodes, deadlines or failures.

mod bulk;
mod cluster;
mod encoded;
mod ledger;
mod quotas;
mod reads;
mod watch;

use tonic::transport::Channel;

pub use self::bulk::Submission;
pub use self::watch::Watcher;
use super::DECODE_LIMIT_BYTES;
use crate::proto::v1::cluster_client::ClusterClient;
use crate::proto::v1::events_client::EventsClient;
use crate::proto::v1::ledger_client::LedgerClient;
use crate::proto::v1::query_client::QueryClient;
use crate::proto::v1::quotas_client::QuotasClient;

fn ledger(channel: Channel) -> LedgerClient<Channel> {
    LedgerClient::new(channel).max_decoding_message_size(DECODE_LIMIT_BYTES)
}

fn quotas(channel: Channel) -> QuotasClient<Channel> {
    QuotasClient::new(channel).max_decoding_message_size(DECODE_LIMIT_BYTES)
}

fn query(channel: Channel) -> QueryClient<Channel> {
    QueryClient::new(channel).max_decoding_message_size(DECODE_LIMIT_BYTES)
}

fn events(channel: Channel) -> EventsClient<Channel> {
    EventsClient::new(channel).max_decoding_message_size(DECODE_LIMIT_BYTES)
}

fn cluster(channel: Channel) -> ClusterClient<Channel> {
    ClusterClient::new(channel).max_decoding_message_size(DECODE_LIMIT_BYTES)
}

/// Sends a message with one method of one stub.
macro_rules! call {
    ($client:expr, $repeat:expr, $stub:ident.$method:ident, $message:expr) => {
        $client
            .call($repeat, $message, |channel, request| async move {
                super::$stub(channel).$method(request).await
            })
            .await
    };
}

/// Sends a command that takes effect once however often it is sent.
macro_rules! command {
    ($client:expr, $request_id:expr, $stub:ident.$method:ident, $message:ident) => {{
        $message.request_id = $request_id.to_string();
        call!($client, Repeat::Command($request_id), $stub.$method, $message)
    }};
}

/// Sends a command that may also be meant as a question.
macro_rules! command_or_question {
    ($client:expr, $request_id:expr, $stub:ident.$method:ident, $message:ident) => {{
        if $message.validate_only {
            $message.request_id = String::new();
            call!($client, Repeat::Read, $stub.$method, $message)
        } else {
            command!($client, $request_id, $stub.$method, $message)
        }
    }};
}

use call;
use command;
use command_or_question;
