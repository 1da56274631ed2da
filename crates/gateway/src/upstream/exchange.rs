//! One request and its answer on one HTTP/1.1 connection, driven by whoever waits for it.
//!
//! The connection has no task of its own: the future of the request and then the body of the
//! answer poll it. An exchange so never changes task, costs no wake-up between tasks per frame,
//! and ends at once when its owner is dropped.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};

use super::connect::UpstreamIo;
use super::pool::Pool;
use super::{Origin, UpstreamError};

/// A connection that can carry a request.
pub(super) struct Carrier {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<UpstreamIo, Full<Bytes>>,
}

/// A request that did not bring an answer.
pub(super) struct SendFailure {
    pub(super) error: hyper::Error,
    /// The request, when not one byte of it was written.
    pub(super) unsent: Option<http::Request<Full<Bytes>>>,
}

impl Carrier {
    pub(super) async fn handshake(io: UpstreamIo) -> Result<Self, hyper::Error> {
        let (sender, connection) = http1::Builder::new().handshake(io).await?;
        Ok(Self { sender, connection })
    }

    /// Whether the peer still holds the connection open and it waits for a request.
    pub(super) fn is_usable(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.connection).poll(&mut cx).is_pending() && self.sender.is_ready()
    }

    /// Sends the request and waits for the head of the answer.
    pub(super) async fn send(
        mut self: Box<Self>,
        request: http::Request<Full<Bytes>>,
    ) -> Result<(http::Response<Incoming>, Option<Box<Self>>), SendFailure> {
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        let mut open = true;
        let result = std::future::poll_fn(|cx| {
            if open && Pin::new(&mut *connection).poll(cx).is_ready() {
                // What the peer sent before it closed still stands in the answer's channel.
                open = false;
            }
            answer.as_mut().poll(cx)
        })
        .await;
        match result {
            Ok(response) => Ok((response, open.then_some(self))),
            Err(mut failure) => {
                let unsent = failure.take_message();
                Err(SendFailure {
                    error: failure.into_error(),
                    unsent,
                })
            }
        }
    }
}

/// The body of an answer, which brings its connection back to the pool at its end.
pub(super) struct ExchangeBody {
    incoming: Incoming,
    /// `None` once the peer has closed it, or it went back to the pool.
    carrier: Option<Box<Carrier>>,
    pool: Arc<Pool>,
    origin: Origin,
    /// Whether the last poll gave a frame.
    just_delivered: bool,
}

impl ExchangeBody {
    pub(super) fn new(
        incoming: Incoming,
        carrier: Option<Box<Carrier>>,
        pool: Arc<Pool>,
        origin: Origin,
    ) -> Self {
        Self {
            incoming,
            carrier,
            pool,
            origin,
            just_delivered: false,
        }
    }

    /// Lets the connection be used again; the answer was read to its end.
    fn give_back(&mut self) {
        if let Some(mut carrier) = self.carrier.take()
            && carrier.is_usable()
        {
            self.pool.put(&self.origin, carrier);
        }
    }
}

impl Body for ExchangeBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = self.get_mut();
        // After a wake-up something has come nearly always. It is fetched without leaving a waker
        // behind: taking it out of the channel would wake this very task once more for nothing.
        // After a frame nothing more has come nearly always, and the task wants to be woken.
        let mut quiet = !std::mem::take(&mut this.just_delivered);
        loop {
            let mut without_waker = Context::from_waker(Waker::noop());
            if let Some(carrier) = this.carrier.as_mut() {
                let cx = if quiet { &mut without_waker } else { &mut *cx };
                if Pin::new(&mut carrier.connection).poll(cx).is_ready() {
                    this.carrier = None;
                }
            }
            // Only the connection makes the channel ready, so the channel needs no waker.
            match Pin::new(&mut this.incoming).poll_frame(&mut without_waker) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.just_delivered = true;
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(source))) => {
                    this.carrier = None;
                    return Poll::Ready(Some(Err(UpstreamError::Cut {
                        source: source.into(),
                    })));
                }
                Poll::Ready(None) => {
                    this.give_back();
                    return Poll::Ready(None);
                }
                Poll::Pending if quiet => quiet = false,
                Poll::Pending if this.carrier.is_some() => return Poll::Pending,
                // hyper ends the channel with the connection, so this is never seen; an error is
                // better than waiting for ever.
                Poll::Pending => {
                    let source = "the connection ended without ending the answer".into();
                    return Poll::Ready(Some(Err(UpstreamError::Cut { source })));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for ExchangeBody {
    fn drop(&mut self) {
        // A body of known length is not polled again after its last byte.
        if self.incoming.is_end_stream() {
            self.give_back();
        }
    }
}
