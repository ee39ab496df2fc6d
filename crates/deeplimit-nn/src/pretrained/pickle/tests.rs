use super::*;

fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// A tensor of so many single-precision numbers, in a storage of that name.
fn tensor(key: &str, count: u8) -> Vec<u8> {
    let class = b"ctorch\nFloatStorage\n".to_vec();
    let storage = [b"(".to_vec(), text("storage"), class, text(key), text("cpu")].concat();
    let call = b"ctorch._utils\n_rebuild_tensor_v2\n(";
    let shape = [b'K', count, 0x85, b'K', 1, 0x85];
    [&call[..], &storage, &[b'K', count], b"tQK\x02", &shape, b"\x89NtR"].concat()
}

fn names(pickle: &[u8]) -> Result<Vec<String>, Refused> {
    let mut budget = Budget(1 << 20);
    let pickled = interpret(&mut &pickle[..], &mut budget, Keep::Tensors)?;
    let tensors = pickled.tensors(&mut budget)?;
    Ok(tensors.into_iter().map(|(name, _)| name).collect())
}

fn dictionary(items: &[Vec<u8>]) -> Vec<u8> {
    [&b"\x80\x02}("[..], &items.concat(), b"u."].concat()
}

#[test]
fn tensors_are_named_by_keys_places_and_attributes() {
    let tuple = [&tensor("1", 2)[..], b"K\x07\x86"].concat();
    let list = [&b"](K\x01"[..], &tensor("2", 3), b"e"].concat();
    let pairs = [
        &b"ccollections\nOrderedDict\n](("[..],
        &text("k"),
        &tensor("3", 1),
        b"te\x85R}",
        &text("_metadata"),
        b"}sb",
    ]
    .concat();
    let object = [
        &b"cmy.net\nNet\n)\x81}("[..],
        &text("training"),
        b"\x88",
        &text("_parameters"),
        b"}",
        &text("w"),
        b"ctorch._utils\n_rebuild_parameter\n",
        &tensor("4", 1),
        b"\x88N\x87Rsub",
    ]
    .concat();
    let all = [
        [text("a"), tensor("0", 5)].concat(),
        [text("t"), tuple].concat(),
        [text("l"), list].concat(),
        [text("o"), pairs].concat(),
        [text("m"), object].concat(),
        [b"K\x03".to_vec(), tensor("5", 1)].concat(),
        [text("loss"), [&b"](G"[..], &[0; 8], b"Ne"].concat()].concat(),
    ];
    let found = names(&dictionary(&all)).expect("a pickle");
    assert_eq!(found, ["a", "t.0", "l.1", "o.k", "m._parameters.w", "3"]);
}

/// As PyTorch kept modules that were saved whole, before 1.6: with the source of their classes.
#[test]
fn a_class_that_lies_outside_is_a_class() {
    let class = [&b"("[..], &text("module"), b"cmy.net\nNet\n", &text("net.py"), &text("source")];
    let module = [&class.concat()[..], b"tQ)\x81}", &text("w"), &tensor("0", 1), b"sb"].concat();
    let found = names(&dictionary(&[[text("net"), module].concat()]));
    assert_eq!(found, Ok(vec!["net.w".to_owned()]));
    let other = [&b"\x80\x02("[..], &text("weights"), b"tQ."].concat();
    assert!(matches!(names(&other), Err(Refused::Damaged(_))));
}

#[test]
fn what_a_tensor_is_stays_known() {
    let mut budget = Budget(1 << 20);
    let pickle = dictionary(&[[text("a"), tensor("7", 5)].concat()]);
    let pickled = interpret(&mut &pickle[..], &mut budget, Keep::Tensors).expect("a pickle");
    let tensors = pickled.tensors(&mut budget).expect("tensors");
    assert_eq!(tensors[0].1.shape, [5]);
    let view = tensors[0].1.numbers.as_ref().expect("numbers");
    assert_eq!((view.offset, &view.strides[..]), (2, &[1][..]));
    let Storage { key, element, part } = &pickled.storages[view.storage];
    assert_eq!((&key[..], element.map(Element::name), part), ("7", Some("float32"), &None));
}

/// However many numbers, texts and lists there are beside the tensors.
#[test]
fn what_belongs_to_no_tensor_takes_next_to_nothing() {
    let losses = [&b"]("[..], &[b'G', 0, 0, 0, 0, 0, 0, 0, 0].repeat(1000), b"e"].concat();
    let indices = [&b"]("[..], &b"M\x10\x27".repeat(1000), b"e"].concat();
    let long = [&b"X"[..], &100_000u32.to_le_bytes(), &[b'a'; 100_000]].concat();
    let beside = |key: &str, value: &[u8]| [&text(key)[..], value].concat();
    let items = |times: usize| {
        let all = [
            beside("losses", &losses),
            beside("indices", &indices),
            beside("log", &long),
            [&text("a")[..], &tensor("0", 1)].concat(),
        ];
        dictionary(&vec![all.concat(); times])
    };
    let left = |pickle: &[u8]| {
        let mut budget = Budget(1 << 20);
        interpret(&mut &pickle[..], &mut budget, Keep::Tensors).expect("a pickle");
        (1 << 20) - budget.0
    };
    let (one, ten) = (left(&items(1)), left(&items(10)));
    assert!(one < 2_000 && ten < 20_000, "{one}, {ten}");
}

/// A tuple of more items than are kept is no shape, rather than an empty one.
#[test]
fn a_shape_of_more_extents_than_tensors_have_is_refused() {
    let extents = [&b"("[..], &b"K\x01".repeat(ARGUMENTS + 1), b"t"].concat();
    let whole = tensor("0", 1);
    let shape = [b'K', 1, 0x85, b'K', 1, 0x85];
    let place = whole.windows(shape.len()).position(|part| part == shape).expect("its shape");
    let many = [&whole[..place], &extents, &extents, &whole[place + shape.len()..]].concat();
    let found = names(&dictionary(&[[text("w"), many].concat()]));
    assert!(matches!(found, Err(Refused::Damaged(_))), "{found:?}");
}

#[test]
fn a_budget_is_kept_to_whatever_is_made() {
    let repeat = |part: &[u8], end: &[u8]| {
        [&b"\x80\x02}"[..], &text("k"), &part.repeat(100_000), end].concat()
    };
    for (what, pickle) in [
        ("lists", repeat(b"]", b".")),
        ("marks", repeat(b"(", b".")),
        ("a value, again and again", repeat(b"2", b".")),
        ("texts", repeat(b"U\x01a", b".")),
        ("names", repeat(b"ca\nb\n", b".")),
        ("tuples", repeat(b"N\x85", b".")),
        ("tensors", repeat(&tensor("0", 1), b".")),
        ("doubled", [&b"\x80\x02]"[..], &b"2\x86".repeat(40), b"."].concat()),
    ] {
        let found = names(&pickle);
        let found = found.map(|names| names.len());
        let allowed = [Err(Refused::TooMuch), Ok(0)];
        assert!(allowed.contains(&found), "{what}: {found:?}");
        assert!(found == Err(Refused::TooMuch) || what == "doubled", "{what}: {found:?}");
    }
    // Lists of the same list twice, thirty deep: a billion ways to one tensor.
    let leaf = [&b"\x80\x02]"[..], &tensor("0", 1), b"a"].concat();
    let mut pickle = leaf;
    for level in 0..30u8 {
        pickle.extend([b'q', level, b'0', b']', b'h', level, b'a', b'h', level, b'a']);
    }
    pickle.push(b'.');
    assert_eq!(names(&pickle), Err(Refused::TooMuch));
    // And one that holds itself.
    let itself = [&b"\x80\x02]q\x00h\x00a"[..], &tensor("0", 1), b"a."].concat();
    let error = names(&itself).expect_err("no end");
    assert!(matches!(&error, Refused::Damaged(what) if what.contains("deep")), "{error:?}");
}
