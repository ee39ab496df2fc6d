//! Images of another size and number of channels than their file has.

use super::*;

/// `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` of PyTorch 2 on images whose
/// byte i, row after row, is (7 i² + 13 i) mod 251, over 255: height, width, side, and what it becomes.
#[expect(clippy::excessive_precision, reason = "the numbers are as PyTorch prints them")]
const PYTORCH: [(usize, usize, usize, &[f32]); 2] = [
    (
        3,
        2,
        5,
        &[
            0.0,
            0.00784313865,
            0.0392156877,
            0.0705882385,
            0.0784313753,
            0.0847058892,
            0.0969411805,
            0.145882368,
            0.194823548,
            0.207058847,
            0.211764708,
            0.230588242,
            0.305882365,
            0.381176472,
            0.400000006,
            0.470588297,
            0.496000081,
            0.59764713,
            0.699294209,
            0.724705935,
            0.643137276,
            0.672941208,
            0.792156875,
            0.911372602,
            0.941176474,
        ],
    ),
    (
        7,
        5,
        3,
        &[
            0.495860517,
            0.549019575,
            0.548148096,
            0.351633966,
            0.925490201,
            0.351634115,
            0.548148155,
            0.549019754,
            0.495860726,
        ],
    ),
];

fn image(height: usize, width: usize) -> Vec<u8> {
    (0..height * width).map(|pixel| ((pixel * pixel * 7 + pixel * 13) % 251) as u8).collect()
}

/// A folder of IDX files with these images of one class.
fn idx(height: u32, width: u32, images: &[Vec<u8>]) -> TempDir {
    let header =
        [0x0803, images.len() as u32, height, width].into_iter().flat_map(u32::to_be_bytes);
    let bytes: Vec<u8> = header.chain(images.iter().flatten().copied()).collect();
    folder(&[
        ("train-images-idx3-ubyte", bytes),
        ("train-labels-idx1-ubyte", idx_labels(&vec![0; images.len()])),
    ])
}

fn off(path: &Path) -> Options {
    Options { normalise: Normalise::Off, ..all(path) }
}

fn first(splits: &Splits) -> Vec<f32> {
    batch(&splits.train, &[0], &splits.normalisation, None).unwrap().inputs
}

fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}"); // PyTorch rounds elsewhere
    }
}

#[test]
fn images_are_resized_as_pytorch_interpolates() {
    for (height, width, side, expected) in PYTORCH {
        let folder = idx(height as u32, width as u32, &[image(height, width)]);
        let splits = load(&Options { resize: Some(side), ..off(folder.path()) }).unwrap();
        assert_eq!(splits.train.shape(), Shape::image(1, side, side));
        close(&first(&splits), expected);
    }
}

#[test]
fn one_channel_is_seen_three_times_and_three_become_their_luminance() {
    let [(height, width, side, expected), _] = PYTORCH;
    let folder = idx(height as u32, width as u32, &[image(height, width)]);
    let options = Options { resize: Some(side), channels: Some(3), ..off(folder.path()) };
    let splits = load(&options).unwrap();
    assert_eq!(splits.train.shape(), Shape::image(3, side, side));
    close(&first(&splits), &[expected, expected, expected].concat());

    let folder = super::folder(&[("data_batch_1.bin", cifar(&[1]))]);
    let splits = load(&Options { channels: Some(1), ..off(folder.path()) }).unwrap();
    assert_eq!(splits.train.shape(), Shape::image(1, 32, 32));
    let bytes = bytes(&splits.train);
    let share = |channel: usize, pixel| f32::from(bytes[channel * 1024 + pixel]) / 255.0;
    let grey = |pixel| 0.299 * share(0, pixel) + 0.587 * share(1, pixel) + 0.114 * share(2, pixel);
    close(&first(&splits), &(0..1024).map(grey).collect::<Vec<f32>>());
}

#[test]
fn images_that_have_the_shape_already_are_not_touched() {
    let plain = load(&Options::default()).unwrap();
    let asked = Options { resize: Some(8), channels: Some(1), ..Options::default() };
    assert_eq!(load(&asked).unwrap(), plain);
}

#[test]
fn normalisation_is_of_the_images_as_they_are_seen() {
    let images: Vec<Vec<u8>> =
        (0..4u8).map(|n| image(3, 2).iter().map(|b| b / (n + 1)).collect()).collect();
    let folder = idx(3, 2, &images);
    let shape = Options { resize: Some(5), channels: Some(3), ..all(folder.path()) };
    let splits = load(&shape).unwrap();
    assert_eq!(splits.normalisation.mean.len(), 3);
    let batch = batch(&splits.train, &[0, 1, 2, 3], &splits.normalisation, None).unwrap();
    for channel in 0..3 {
        let planes = batch.inputs.chunks_exact(25).skip(channel).step_by(3);
        let values: Vec<f64> = planes.flatten().map(|&value| f64::from(value)).collect();
        let mean = values.iter().sum::<f64>() / 100.0;
        let square = values.iter().map(|value| value * value).sum::<f64>() / 100.0;
        assert!(mean.abs() < 1e-6 && (square - 1.0).abs() < 1e-6, "{mean} {square}");
    }
    // Given for three channels, it fits; given for the file's one, it does not.
    let given = |channels| {
        let identity = Normalisation::identity(Shape::image(channels, 5, 5));
        load(&Options { normalise: Normalise::Given(identity), ..shape.clone() })
    };
    assert!(given(3).is_ok());
    let message = given(1).unwrap_err().to_string();
    assert_eq!(message, "normalisation: means: 1, expected 3");
    let flat = load(&Options { resize: Some(9), ..all(idx(3, 2, &[vec![51; 6]]).path()) }).unwrap();
    assert_eq!(
        (flat.normalisation.mean, flat.normalisation.std),
        (vec![f64::from(0.2f32)], vec![1.0])
    );
}

#[test]
fn parts_and_augmentations_are_those_of_the_shape_that_is_seen() {
    let seen = Options { resize: Some(12), channels: Some(3), ..Options::default() };
    let (plain, seen) = (load(&Options::default()).unwrap(), load(&seen).unwrap());
    assert_eq!(bytes(&seen.validation), bytes(&plain.validation), "kept as they are");
    for part in [&seen.train, &seen.validation, seen.test.as_ref().unwrap()] {
        assert_eq!(part.shape(), Shape::image(3, 12, 12));
    }
    let augment = Augment { crop: 10, flip: true, noise: 0.0 }; // wider than 8 pixels
    let draw = Some(Draw { augment, seed: 1, epoch: 0 });
    assert!(batch(&seen.train, &[0, 1], &seen.normalisation, draw).is_ok());
    assert!(batch(&plain.train, &[0, 1], &plain.normalisation, draw).is_err());
}

#[test]
fn shapes_that_cannot_be_given_are_refused() {
    let refused = |options: Options| load(&options).unwrap_err().to_string();
    for found in [0, 1, 1025] {
        assert_eq!(
            refused(Options { resize: Some(found), ..Options::default() }),
            format!("option resize: {found}, expected a side of 2 to 1024 pixels")
        );
    }
    for found in [0, 2, 4] {
        assert_eq!(
            refused(Options { channels: Some(found), ..Options::default() }),
            format!(
                "option channels: {found}, expected 3 (one repeated) or 1 (the luminance of three)"
            )
        );
    }
    let folder = table("1,2,a\n3,5,b\n");
    let table = || all(&folder.path().join("table.csv"));
    for (options, option) in [
        (Options { resize: Some(8), ..table() }, "resize"),
        (Options { channels: Some(3), ..table() }, "channels"),
    ] {
        assert_eq!(
            refused(options),
            format!("option {option} does not apply to source csv: a table has no images")
        );
    }
}
