//! Whatever is done to the files is found, and the first record that is not as it was written is named.

use super::*;

/// The sample's lines (without newlines) with the segment that each is in.
fn lines() -> Vec<(usize, Vec<u8>)> {
    let mut lines = Vec::new();
    for (position, (_, bytes)) in sample().iter().enumerate() {
        let whole = bytes.strip_suffix(b"\n").unwrap();
        lines.extend(whole.split(|c| *c == b'\n').map(|line| (position, line.to_vec())));
    }
    lines
}

/// Puts lines back into the segments they say they are in, and verifies.
fn verify_lines(lines: &[(usize, Vec<u8>)]) -> Result<pgward::audit::Report, pgward::audit::Broken> {
    let directory = fast_directory();
    for (position, (name, _)) in sample().iter().enumerate() {
        let mut bytes = Vec::new();
        for (_, line) in lines.iter().filter(|(segment, _)| *segment == position) {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        write_segment(directory.path(), name, &bytes);
    }
    verify(directory.path())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_flipped_bit_is_found(position in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut copy = sample().to_vec();
        // The very last newline is left out: without it the last line is as if cut off by a crash, and nothing but a noted head can tell.
        let total: usize = copy.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() - 1;
        let mut position = position.index(total);
        let mut before = 0;
        for (_, bytes) in &mut copy {
            if position < bytes.len() {
                before += bytes[..position].iter().filter(|c| **c == b'\n').count();
                bytes[position] ^= 1 << bit;
                break;
            }
            position -= bytes.len();
            before += bytes.iter().filter(|c| **c == b'\n').count();
        }
        let directory = fast_directory();
        write_out(directory.path(), &copy);
        let broken = verify(directory.path()).unwrap_err();
        prop_assert_eq!(broken.good, before as u64, "{}", broken);
        prop_assert_eq!(broken.index, before as u64, "{}", broken);
    }

    #[test]
    fn any_two_lines_swapped_are_found(a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
        let mut copy = lines();
        let (a, b) = (a.index(copy.len()), b.index(copy.len()));
        prop_assume!(a != b);
        let (x, y) = (copy[a].1.clone(), copy[b].1.clone());
        copy[a].1 = y;
        copy[b].1 = x;
        let broken = verify_lines(&copy).unwrap_err();
        prop_assert_eq!(broken.good, a.min(b) as u64);
        prop_assert_eq!(broken.fault, Fault::Reordered);
    }

    #[test]
    fn any_copied_line_is_found(from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let mut copy = lines();
        let (from, to) = (from.index(copy.len()), to.index(copy.len()));
        let line = (copy[to].0, copy[from].1.clone());
        copy.insert(to, line);
        let broken = verify_lines(&copy).unwrap_err();
        // A copy right before the original: the second of the two is the one too many.
        prop_assert_eq!(broken.good, if from == to { to + 1 } else { to } as u64, "{}", broken);
        let right = matches!(broken.fault, Fault::Inserted | Fault::Reordered | Fault::Renamed);
        prop_assert!(right, "{}", broken);
    }
}

#[test]
fn any_deleted_line_but_the_last_is_found() {
    let all = lines();
    assert_eq!(verify_lines(&all).unwrap().records, all.len() as u64);
    for gone in 0..all.len() - 1 {
        let mut copy = all.clone();
        copy.remove(gone);
        let broken = verify_lines(&copy).unwrap_err();
        let expected = (gone as u64, Fault::Missing(gone as u64, gone as u64));
        assert_eq!((broken.good, broken.fault.clone()), expected, "{broken}");
    }
    // The last one: only a head that was noted elsewhere shows it.
    let directory = fast_directory();
    write_out(directory.path(), sample());
    let head = verify(directory.path()).unwrap().head.unwrap();
    assert_eq!(head.to_string().parse::<pgward::audit::Head>().unwrap(), head);
    verify_against(directory.path(), Some(head)).unwrap();
    let (name, bytes) = sample().last().unwrap();
    let end = bytes[..bytes.len() - 1]
        .iter()
        .rposition(|c| *c == b'\n')
        .map_or(0, |end| end + 1);
    write_segment(directory.path(), name, &bytes[..end]);
    verify(directory.path()).unwrap();
    assert_eq!(
        verify_against(directory.path(), Some(head)).unwrap_err().fault,
        Fault::CutOff
    );
}

/// A line that is sound in itself: what someone writes who knows the format.
fn forge(line: &[u8], edit: impl Fn(String) -> String) -> Vec<u8> {
    let link = Link::parse(line).unwrap();
    let body = edit(String::from_utf8(link.body.to_vec()).unwrap());
    let prev: Hash = body.split('"').nth(5).unwrap().parse().unwrap();
    let forged = format!("{body},\"hash\":\"{}\"}}", Hash::entry(prev, body.as_bytes())).into_bytes();
    assert!(Link::parse(&forged).unwrap().is_sound());
    forged
}

#[test]
fn forged_lines_are_found() {
    let all = lines();
    let edit = |body: String| body.replace("\"handler\":\"kim\"", "\"handler\":\"lee\"");
    // Replaced in place, with its own hash right: the next record does not link to it.
    let mut copy = all.clone();
    copy[2].1 = forge(&copy[2].1, edit);
    let broken = verify_lines(&copy).unwrap_err();
    assert_eq!(
        (broken.fault.clone(), broken.good, broken.index),
        (Fault::Replaced, 3, 3),
        "{broken}"
    );
    // Inserted with a right link and index: from there on there are two that follow record 1.
    let mut copy = all.clone();
    let inserted = (copy[2].0, forge(&copy[2].1, edit));
    copy.insert(2, inserted);
    let broken = verify_lines(&copy).unwrap_err();
    assert_eq!((broken.fault.clone(), broken.good), (Fault::Inserted, 3), "{broken}");
    // Inserted with a wrong link.
    let mut copy = all.clone();
    let wrong_link = |body: String| {
        format!(
            "{{\"index\":2,\"prev\":\"{}\"{}",
            "0".repeat(64),
            &body[body.find(",\"log\"").unwrap()..]
        )
    };
    let inserted = (copy[2].0, forge(&copy[2].1, wrong_link));
    copy.insert(2, inserted);
    let broken = verify_lines(&copy).unwrap_err();
    assert_eq!((broken.fault.clone(), broken.good), (Fault::Inserted, 2), "{broken}");
    // Of another log.
    let mut copy = all.clone();
    let other = |body: String| {
        let log = body.find("\"log\":\"").unwrap() + 7;
        format!("{}{}{}", &body[..log], uuid::Uuid::nil(), &body[log + 36..])
    };
    copy[3].1 = forge(&copy[3].1, other);
    assert_eq!(verify_lines(&copy).unwrap_err().fault, Fault::Foreign);
    // Written anew from the start: whole by itself, found by the noted head.
    let directory = fast_directory();
    write_out(directory.path(), sample());
    let head = verify(directory.path()).unwrap().head.unwrap();
    let mut prev = None;
    let mut bytes = Vec::new();
    for (_, line) in &all {
        let relink = |body: String| match prev {
            None => edit(body),
            Some(prev) => {
                let link = body.find("\"prev\":\"").unwrap() + 8;
                edit(format!("{}{prev}{}", &body[..link], &body[link + 64..]))
            }
        };
        let line = forge(line, relink);
        prev = Some(Link::parse(&line).unwrap().hash);
        bytes.extend_from_slice(&line);
        bytes.push(b'\n');
    }
    let directory = fast_directory();
    write_segment(directory.path(), &segment_name(0), &bytes);
    assert_eq!(verify(directory.path()).unwrap().records, all.len() as u64);
    assert_eq!(
        verify_against(directory.path(), Some(head)).unwrap_err().fault,
        Fault::OtherHead
    );
}

#[test]
fn faults_of_whole_segments_are_found() {
    let case = |edit: &dyn Fn(&mut Vec<Named>)| {
        let directory = fast_directory();
        let mut copy = sample().to_vec();
        edit(&mut copy);
        write_out(directory.path(), &copy);
        verify(directory.path()).unwrap_err()
    };
    let first = case(&|segments| drop(segments.remove(0)));
    assert!(matches!(first.fault, Fault::Missing(0, _)), "{first}");
    let middle = case(&|segments| drop(segments.remove(1)));
    assert!(matches!(middle.fault, Fault::Missing(6, _)), "{middle}");
    let cut = case(&|segments| segments[0].1.truncate(100));
    assert_eq!((cut.fault.clone(), cut.good), (Fault::Truncated, 0), "{cut}");
    let emptied = case(&|segments| segments[1].1.clear());
    assert_eq!(emptied.fault, Fault::Truncated, "{emptied}");
    let renamed = case(&|segments| segments[1].0 = segment_name(7));
    assert_eq!((renamed.fault.clone(), renamed.good), (Fault::Renamed, 6), "{renamed}");
    let nothing = case(&|segments| segments.clear());
    assert_eq!(nothing.fault, Fault::NoJournal);
    assert_eq!(
        verify(Path::new("/nonexistent/journal")).unwrap_err().fault,
        Fault::Unreadable
    );
}
