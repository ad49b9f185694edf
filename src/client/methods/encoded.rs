//! Calls whose message was encoded by the caller: what is large is encoded once, however often it is
//! sent.

use std::marker::PhantomData;

use bytes::BufMut as _;
use bytes::Bytes;
use prost::Message;
use tonic::Request;
use tonic::Response;
use tonic::Status;
use tonic::client::Grpc;
use tonic::codec::Codec;
use tonic::codec::EncodeBuf;
use tonic::codec::Encoder;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic_prost::ProstDecoder;

use crate::client::DECODE_LIMIT_BYTES;

/// Sends an encoded message, as the stubs send theirs.
pub(super) async fn unary<A: Message + Default + Send + 'static>(
    channel: Channel,
    path: PathAndQuery,
    request: Request<Bytes>,
) -> Result<Response<A>, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(DECODE_LIMIT_BYTES);
    grpc.ready().await.map_err(|error| Status::unknown(format!("Service was not ready: {error}")))?;
    grpc.unary(request, path, Encoded(PhantomData)).await
}

/// Bytes as they are on the way out, a message on the way in.
struct Encoded<A>(PhantomData<A>);

impl<A: Message + Default + Send + 'static> Codec for Encoded<A> {
    type Encode = Bytes;
    type Decode = A;
    type Encoder = Plain;
    type Decoder = ProstDecoder<A>;

    fn encoder(&mut self) -> Plain {
        Plain
    }

    fn decoder(&mut self) -> ProstDecoder<A> {
        ProstDecoder::default()
    }
}

struct Plain;

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.len());
        buffer.put(message);
        Ok(())
    }
}
