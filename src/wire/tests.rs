//! The framer, the readers and the output buffer, on foreign bytes.

use super::compose;
use super::frame::{self, HEADER, MAX_FRAME, Scan};
use super::inbuf::InBuf;
use super::outbuf::OutBuf;
use super::read::{self, Bind, Body, DataRow, Execute, Parse, Target};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use proptest::prelude::*;
use std::io::IoSlice;

fn bind_body(portal: &str, statement: &str, formats: &[u16], values: &[Option<&[u8]>], results: &[u16]) -> Vec<u8> {
    let mut body = Vec::new();
    for name in [portal, statement] {
        body.put_slice(name.as_bytes());
        body.put_u8(0);
    }
    body.put_u16(formats.len() as u16);
    formats.iter().for_each(|f| body.put_u16(*f));
    body.put_u16(values.len() as u16);
    for value in values {
        match value {
            None => body.put_i32(-1),
            Some(value) => {
                body.put_i32(value.len() as i32);
                body.put_slice(value);
            }
        }
    }
    body.put_u16(results.len() as u16);
    results.iter().for_each(|f| body.put_u16(*f));
    body
}

#[test]
fn a_frame_is_seen_as_soon_as_its_header_is_there() {
    let mut out = BytesMut::new();
    compose::query(&mut out, b"SELECT 1");
    for cut in 0..out.len() {
        let seen = frame::scan(&out[..cut]).unwrap();
        let expected = if cut < HEADER {
            Scan::Partial
        } else {
            Scan::Frame {
                tag: b'Q',
                size: out.len(),
            }
        };
        assert_eq!(seen, expected, "cut at {cut}");
    }
}

#[test]
fn wire_32_lengths_out_of_range_are_malformed() {
    for length in [0u32, 3, MAX_FRAME as u32, u32::MAX, 1 << 31] {
        let mut input = vec![b'Q'];
        input.extend_from_slice(&length.to_be_bytes());
        assert!(frame::scan(&input).is_err(), "{length}");
    }
}

#[test]
fn wire_32_trailing_bytes_and_missing_ends_are_malformed() {
    assert!(read::query(b"SELECT 1\0").is_ok());
    assert!(read::query(b"SELECT 1").is_err());
    assert!(read::query(b"SELECT 1\0 and more\0").is_err());
    assert!(Execute::read(b"p\0\0\0\0\x05").is_ok());
    assert!(Execute::read(b"p\0\0\0\0\x05\0").is_err());
    assert!(Target::read(b"Xname\0", "Describe").is_err());
    assert!(Target::read(b"Sname\0", "Describe").is_ok());
    let body = bind_body("", "s", &[1], &[Some(b"abc"), None], &[]);
    assert!(Bind::read(&body).is_ok());
    for cut in 0..body.len() {
        assert!(Bind::read(&body[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = body;
    longer.push(0);
    assert!(Bind::read(&longer).is_err());
}

#[test]
fn wire_31_counts_are_unsigned() {
    let values: Vec<Option<&[u8]>> = vec![None; 65_535];
    let body = bind_body("", "", &[], &values, &[]);
    let bind = Bind::read(&body).unwrap();
    assert_eq!(bind.count, 65_535);
    assert_eq!(bind.values().count(), 65_535);
}

#[test]
fn wire_22_format_codes_none_one_or_each() {
    let values: [Option<&[u8]>; 3] = [Some(b"a"), None, Some(b"")];
    let read = |formats: &[u16]| {
        let body = bind_body("", "", formats, &values, &[]);
        Bind::read(&body).map(|b| (0..3).map(|i| b.formats.code(i)).collect::<Vec<_>>())
    };
    assert_eq!(read(&[]).unwrap(), [0, 0, 0]);
    assert_eq!(read(&[1]).unwrap(), [1, 1, 1]);
    assert_eq!(read(&[0, 1, 0]).unwrap(), [0, 1, 0]);
    assert!(read(&[0, 1]).is_err());
}

#[test]
fn a_negative_length_other_than_null_is_malformed() {
    let mut body = Body::new(&[0xff, 0xff, 0xff, 0xfe], "test");
    assert!(body.value().is_err());
}

#[test]
fn a_name_with_a_nul_inside_can_not_be_composed() {
    let mut out = BytesMut::new();
    compose::query(&mut out, b"SELECT 1\0; DROP TABLE t");
    assert_eq!(read::query(&out[HEADER..]).unwrap(), b"SELECT 1; DROP TABLE t");
}

/// What an OutBuf must do, done simply.
fn drain(out: &mut OutBuf) -> Vec<u8> {
    let mut all = Vec::new();
    while out.has_remaining() {
        let mut slices = [IoSlice::new(&[]); 3];
        let n = out.chunks_vectored(&mut slices);
        assert!(n > 0);
        let first = slices[0].to_vec();
        assert_eq!(first, out.chunk()[..first.len()]);
        out.advance(first.len());
        all.extend_from_slice(&first);
    }
    all
}

#[test]
fn held_bytes_stay_until_released() {
    let mut out = OutBuf::default();
    out.put(b"before");
    let at = out.position();
    out.put_bytes(Bytes::from(vec![7; 20_000]));
    out.put(b"after");
    out.hold(Some(at));
    assert_eq!(drain(&mut out), b"before");
    assert_eq!(out.remaining(), 0);
    let cut = out.cut(at + 20_000);
    assert_eq!(&cut[..], b"after");
    out.hold(None);
    assert_eq!(drain(&mut out), vec![7; 20_000]);
    assert!(out.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    PutBytes(usize),
    /// So many bytes were read, of which so many go over; then the memory is asked back.
    PutFront(usize, usize),
    Hold(Option<usize>),
    Drain(usize),
    Cut(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![0..40usize, 8_000..9_000usize];
    let step = prop_oneof![
        size.clone().prop_map(Step::Put),
        size.clone().prop_map(Step::PutBytes),
        (size, 0..3usize).prop_map(|(size, left)| Step::PutFront(size + left, size)),
        proptest::option::of(0..20_000usize).prop_map(Step::Hold),
        (0..20_000usize).prop_map(Step::Drain),
        (0..20_000usize).prop_map(Step::Cut),
    ];
    proptest::collection::vec(step, 0..40)
}

/// A list of fields is an error, and not a shorter list, where its body has too few bytes or too many.
#[test]
fn fields_are_read_to_the_last_byte() {
    let field = b"id\0\0\0\x40\x01\0\x03\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
    let body = |count: u16, fields: usize, behind: &[u8]| {
        let mut body = BytesMut::new();
        body.put_u16(count);
        (0..fields).for_each(|_| body.put_slice(field));
        body.put_slice(behind);
        body
    };
    for count in 0..3 {
        let fields = usize::from(count);
        let exact = body(count, fields, b"");
        let read = read::row_description(&exact).expect("fields");
        assert_eq!(read.len(), fields);
        assert!(
            read.iter()
                .all(|f| (f.name, f.table, f.attnum, f.type_oid, f.typlen, f.typmod) == (b"id", 0x4001, 3, 23, 4, -1))
        );
        for wrong in [
            body(count, fields, b"\0"),
            body(count + 1, fields, b""),
            body(count, fields + 1, b""),
        ] {
            assert!(read::row_description(&wrong).is_err());
            assert!(read::fields(&wrong).is_err() || read::fields(&wrong).unwrap().any(|f| f.is_err()));
        }
    }
}

proptest! {
    #[test]
    fn readers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = frame::scan(&bytes);
        let _ = Parse::read(&bytes).map(|p| p.oids().count());
        let _ = Bind::read(&bytes).map(|b| (b.values().count(), b.result_formats.code(7)));
        let _ = Execute::read(&bytes);
        let _ = Target::read(&bytes, "Describe");
        let _ = read::query(&bytes);
        let _ = read::row_description(&bytes);
        let _ = read::parameter_description(&bytes);
        let _ = read::parameter_status(&bytes);
        let _ = read::error_fields(&bytes);
        let _ = read::backend_key(&bytes);
        let _ = read::ready_for_query(&bytes);
        if let Ok(mut row) = DataRow::read(&bytes) {
            while row.value().is_ok() {}
        }
    }

    #[test]
    fn an_output_buffer_is_a_queue_with_a_hold(steps in steps()) {
        let mut out = OutBuf::default();
        let mut model: Vec<u8> = Vec::new();
        let mut hold: Option<usize> = None; // relative to the model's front
        let mut next = 0u8;
        let mut fill = |n: usize| { next = next.wrapping_add(1); vec![next; n] };
        let mut consumed = 0u64;
        for step in steps {
            match step {
                Step::Put(n) => { let b = fill(n); out.put(&b); model.extend(b); }
                Step::PutBytes(n) => { let b = fill(n); model.extend(&b); out.put_bytes(b.into()); }
                Step::PutFront(read, n) => {
                    let b = fill(read);
                    let mut input = InBuf::from(&b[..]);
                    input.reserve(50_000);
                    let memory = input.as_ptr();
                    let goes_whole = n > 0 && n == read && out.is_empty();
                    out.put_front(&mut input, n);
                    prop_assert_eq!(&input[..], &b[n..]);
                    prop_assert!(!goes_whole || hold.is_some() || out.chunk().as_ptr() == memory, "a copy was made");
                    model.extend(&b[..n]);
                    let given_back = out.take_memory();
                    prop_assert!(given_back.is_none_or(|memory| memory.is_empty()));
                }
                Step::Hold(at) => { hold = at; out.hold(at.map(|a| consumed + a as u64)); }
                Step::Drain(n) => {
                    let n = n.min(model.len()).min(hold.unwrap_or(usize::MAX));
                    prop_assert!(out.remaining() >= n);
                    let got = out.copy_to_bytes(n);
                    prop_assert_eq!(&got[..], &model[..n]);
                    model.drain(..n);
                    consumed += n as u64;
                    hold = hold.map(|h| h - n);
                }
                Step::Cut(at) => {
                    let cut = out.cut(consumed + at as u64);
                    let at = at.min(model.len());
                    prop_assert_eq!(&cut[..], &model[at..]);
                    model.truncate(at);
                }
            }
            prop_assert_eq!(out.len(), model.len());
            prop_assert_eq!(out.position(), consumed + model.len() as u64);
            prop_assert_eq!(out.remaining(), model.len().min(hold.unwrap_or(usize::MAX)));
        }
    }
}
