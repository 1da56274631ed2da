//! How the spool's frames spell types that come from elsewhere.

use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::text::{Currency, Text};

/// An id as its 16 bytes.
pub(crate) mod id {
    use uuid::Uuid;

    use super::{DecodeError, Decoder, EncodeError, Encoder, Write, array};

    pub(crate) fn encode<C, W: Write>(
        id: &Uuid,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        encoder.bytes(id.as_bytes())?.ok()
    }

    pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Uuid, DecodeError> {
        array(decoder).map(Uuid::from_bytes)
    }
}

/// Money as the 16 bytes of its decimal: digits and scale are kept as they are.
pub(crate) mod money {
    use rust_decimal::Decimal;

    use super::{DecodeError, Decoder, EncodeError, Encoder, Write, array};

    #[expect(clippy::ref_option, reason = "minicbor passes the field's own type")]
    pub(crate) fn encode<C, W: Write>(
        money: &Option<Decimal>,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match money {
            Some(money) => encoder.bytes(&money.serialize())?.ok(),
            None => encoder.null()?.ok(),
        }
    }

    pub(crate) fn decode<C>(
        decoder: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Option<Decimal>, DecodeError> {
        if decoder.datatype()? == minicbor::data::Type::Null {
            decoder.null()?;
            return Ok(None);
        }
        array(decoder).map(Decimal::deserialize).map(Some)
    }
}

fn array(decoder: &mut Decoder<'_>) -> Result<[u8; 16], DecodeError> {
    let at = decoder.position();
    let bytes = decoder.bytes()?;
    bytes
        .try_into()
        .map_err(|_| DecodeError::message("16 bytes were expected").at(at))
}

impl<C> Encode<C> for Text<'_> {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        encoder.str(self.as_str())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Text<'_> {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        Ok(Text::from(decoder.str()?).into_owned())
    }
}

impl<C> Encode<C> for Currency {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        encoder.str(self.as_str())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Currency {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let at = decoder.position();
        Self::from_code(decoder.str()?)
            .ok_or_else(|| DecodeError::message("a currency is three capital letters").at(at))
    }
}
