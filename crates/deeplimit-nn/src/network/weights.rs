//! Weights as safetensors, with the configuration they belong to inside.

use super::normalised::Blueprint;
use super::{BadWeight, FieldName, Network, NetworkConfig, Outputs, StagePlan, TransitionConfig};
use crate::data::Shape;
use crate::pretrained::longest_header;
use crate::tensor_file;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use deeplimit::field::LayerName;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors, View};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

/// A weights file in memory.
pub struct WeightsFile {
    /// Text entries: the run's configuration, where training stands, and what else was put in.
    pub metadata: BTreeMap<String, String>,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

/// Why weights cannot be read or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The bytes are no safetensors file, or a cut one.
    #[error("not a whole safetensors file: {0}")]
    Format(#[from] safetensors::SafeTensorError),
    /// A tensor is missing.
    #[error("tensor {name:?} is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A tensor belongs to no parameter.
    #[error("tensor {name:?} belongs to no parameter of the network")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A tensor has another shape or type than the network.
    #[error("tensor {name:?}: found {found}, expected {expected}")]
    Mismatch {
        /// Its name.
        name: String,
        /// Type and shape in the file.
        found: String,
        /// Type and shape in the network.
        expected: String,
    },
    /// A number is no weight.
    #[error(transparent)]
    Number(#[from] BadWeight),
}

impl WeightsFile {
    /// The present weights of a network.
    ///
    /// Controls keep their depth axis first: `stages.0.w1` has shape `[nodes, hidden, width]`, or
    /// `[coefficients, hidden, width]` of a control in a basis, which the configuration names.
    pub fn of(network: &Network) -> Self {
        let shapes = control_shapes(network);
        let mut tensors = Vec::new();
        walk(network, |name, shape, values| {
            let shape = shapes.get(&name).cloned().unwrap_or(shape);
            tensors.push((name, shape, values));
        });
        Self { metadata: BTreeMap::new(), tensors }
    }

    /// Checks that all numbers are weights that a network can have.
    ///
    /// # Errors
    /// If one is not finite, or a running variance negative; the first is named.
    pub fn check(&self) -> Result<(), BadWeight> {
        let mut tensors = self.tensors();
        tensors.try_for_each(|(name, shape, values)| BadWeight::check(name, shape, values))
    }

    /// The network with these weights.
    ///
    /// # Errors
    /// If a tensor is missing, does not fit, or holds numbers that are no weights.
    pub fn load_into(&self, network: Network) -> Result<Network, WeightsError> {
        self.check()?;
        let shapes = control_shapes(&network);
        let mut ordered = Vec::new();
        let mut fault = None;
        let mut known = Vec::new();
        walk(&network, |name, shape, _| {
            known.push(name.clone());
            let expected = shapes.get(&name).cloned().unwrap_or(shape);
            match self.tensors.iter().find(|(found, ..)| *found == name) {
                None => {
                    fault.get_or_insert(WeightsError::Missing { name });
                }
                Some((_, found, _)) if *found != expected => {
                    fault.get_or_insert(WeightsError::Mismatch {
                        name,
                        found: format!("{found:?}"),
                        expected: format!("{expected:?}"),
                    });
                }
                Some((_, _, values)) => ordered.push(values.clone()),
            }
        });
        let unknown = self.tensors.iter().find(|(name, ..)| !known.contains(name));
        let unknown = unknown.map(|(name, ..)| WeightsError::Unknown { name: name.clone() });
        match fault.or(unknown) {
            Some(fault) => Err(fault),
            None => Ok(network.map(&mut Loader { values: ordered.into_iter() })),
        }
    }

    /// The same file with other numbers in one tensor.
    ///
    /// # Panics
    /// If there is no such tensor, or it has another size.
    pub fn replaced(&self, name: &str, values: Vec<f32>) -> Self {
        let mut tensors = self.tensors.clone();
        let place = tensors.iter_mut().find(|(found, ..)| found == name);
        let (.., old) = place.expect("a tensor of that name");
        assert_eq!(old.len(), values.len(), "a tensor keeps its size");
        *old = values;
        Self { metadata: self.metadata.clone(), tensors }
    }

    /// The same file with the numbers that are given for each tensor's name.
    ///
    /// # Panics
    /// If they are of another size than the tensor.
    pub fn filled(mut self, values: impl Fn(&str) -> Vec<f32>) -> Self {
        for (name, _, old) in &mut self.tensors {
            let new = values(name);
            assert_eq!(old.len(), new.len(), "a tensor keeps its size: {name}");
            *old = new;
        }
        self
    }

    /// Name, shape and numbers of each tensor.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize], &[f32])> {
        self.tensors.iter().map(|(name, shape, values)| (&name[..], &shape[..], &values[..]))
    }

    /// What the tensors tell of the inputs' shape and of the outputs of their network: no shape where
    /// it begins with a convolution, which takes images of any size.
    pub fn ends(&self, config: &NetworkConfig) -> (Option<Shape>, Option<Outputs>) {
        let shape = |name: &str| {
            let found = self.tensors.iter().find(|(found, ..)| found == name);
            found.map(|(_, shape, _)| &shape[..])
        };
        let inputs = match config.stage.first().map(|stage| (stage.transition, stage.field)) {
            Some((TransitionConfig::Linear { .. }, _)) => {
                shape("stages.0.transition.linear.weight").and_then(|shape| shape.first())
            }
            Some((TransitionConfig::None {}, FieldName::Layer(layer)))
                if layer != LayerName::Conv =>
            {
                // The first kind of each of these layers is a matrix [.., width].
                let kinds = self
                    .tensors
                    .iter()
                    .filter(|(name, shape, _)| name.starts_with("stages.0.") && shape.len() == 3);
                let first = kinds.min_by(|(a, ..), (b, ..)| a.cmp(b));
                first.and_then(|(_, shape, _)| shape.last())
            }
            _ => None,
        };
        let outputs = shape("head.linear.weight").and_then(|shape| shape.last());
        let outputs = outputs.map(|count| match count {
            1 => Outputs::Value,
            count => Outputs::Classes(*count),
        });
        (inputs.map(|count| Shape::table(*count)), outputs)
    }

    /// How many of the numbers are trained: all but running statistics.
    pub fn parameters(&self) -> usize {
        let remembered = |name: &str| RUNNING.iter().any(|running| name.ends_with(running));
        let trained = self.tensors.iter().filter(|(name, ..)| !remembered(name));
        trained.map(|(.., values)| values.len()).sum()
    }

    /// The bytes of a safetensors file.
    ///
    /// # Errors
    /// If its header would be longer than the format allows.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WeightsError> {
        Ok(tensor_file::bytes(self.stored(), &self.metadata)?)
    }

    /// Writes a safetensors file, one tensor after the other.
    ///
    /// # Errors
    /// If its header would be longer than the format allows, or the file cannot be written.
    pub fn write_to(&self, path: &Path) -> io::Result<()> {
        let written = tensor_file::create(path, self.stored(), &self.metadata);
        written.map_err(|error| match error {
            SafeTensorError::IoError(source) => source,
            other => io::Error::other(other),
        })
    }

    fn stored(&self) -> impl Iterator<Item = (&str, Stored<'_>)> {
        self.tensors().map(|(name, shape, values)| (name, Stored { shape, values }))
    }

    /// Reads a safetensors file.
    ///
    /// # Errors
    /// If it is cut or garbled, or holds other numbers than `f32`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        // What a header takes is many times its length.
        let length = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        if length > longest_header(bytes.len() as u64) {
            return Err(SafeTensorError::HeaderTooLarge.into());
        }
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let file = SafeTensors::deserialize(bytes)?;
        let mut tensors = Vec::new();
        for (name, view) in file.tensors() {
            if view.dtype() != Dtype::F32 {
                let found = format!("{:?}", view.dtype());
                return Err(WeightsError::Mismatch { name, found, expected: "F32".to_owned() });
            }
            let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            let values = view.data().chunks_exact(4).map(number).collect();
            tensors.push((name, view.shape().to_vec(), values));
        }
        Ok(Self { metadata, tensors })
    }
}

impl Network {
    /// The names that parameters and running statistics have in files.
    pub fn weight_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        walk(self, |name, _, _| names.push(name));
        names
    }

    /// The parameters whose names are, or begin with the parts of, `name`.
    pub(crate) fn ids_of(&self, name: &str) -> Vec<ParamId> {
        struct Ids(Vec<ParamId>);
        impl ModuleVisitor for Ids {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.push(param.id);
            }
        }
        let mut ids = Ids(Vec::new());
        self.visit(&mut ids);
        let within = |found: &str| {
            found.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let named = self.weight_names().into_iter().zip(ids.0);
        named.filter(|(found, _)| within(found)).map(|(_, id)| id).collect()
    }
}

/// Gradients by the names that weights have in files.
pub fn named_gradients(network: &Network, record: &GradientsParams) -> Vec<(String, Vec<f32>)> {
    let mut names = Vec::new();
    walk(network, |name, _, _| names.push(name));
    let flat = crate::gradients::collect(network, record);
    names.into_iter().zip(flat).filter_map(|(name, gradient)| Some((name, gradient?))).collect()
}

/// The full shapes of the controls' arrays, by name.
fn control_shapes(network: &Network) -> HashMap<String, Vec<usize>> {
    let mut shapes = HashMap::new();
    for name in HEAD.into_iter().chain(RUNNING) {
        shapes.insert(format!("head.{name}"), vec![network.head.channels()]);
    }
    for (index, plan) in network.plans().enumerate() {
        for kind in plan.formula.kinds() {
            let mut shape = vec![plan.rows()];
            shape.extend(&kind.shape);
            shapes.insert(format!("stages.{index}.{}", kind.name), shape);
        }
        if let Some(blueprint) = Blueprint::of(plan) {
            let arrays = blueprint.kinds().into_iter().map(|(name, kind)| (name, kind.shape));
            let running = RUNNING.map(|name| (name.to_owned(), vec![blueprint.normalised()]));
            for (name, shape) in arrays.chain(running) {
                shapes.insert(format!("stages.{index}.transition.{name}"), shape);
            }
        }
    }
    shapes
}

/// Names of the arrays of the head's normalisation.
const HEAD: [&str; 2] = ["g1", "be1"];

/// Names of running statistics.
const RUNNING: [&str; 2] = ["running_mean", "running_variance"];

/// Names of running variances here, and in PyTorch.
pub(super) const RUNNING_VARIANCE: [&str; 2] = [RUNNING[1], "running_var"];

/// Calls `visit(name, shape, values)` for every parameter.
fn walk(network: &Network, visit: impl FnMut(String, Vec<usize>, Vec<f32>)) {
    let kinds = |plan: &StagePlan| {
        let control = plan.formula.kinds().iter().map(|kind| kind.name.to_owned()).collect();
        let transition = Blueprint::of(plan).map(|blueprint| blueprint.kinds());
        [control, transition.into_iter().flatten().map(|(name, _)| name).collect()]
    };
    let kinds = network.plans().map(kinds).collect();
    let mut walker = Walker { path: Vec::new(), kinds, visit };
    network.visit(&mut walker);
}

struct Walker<V> {
    path: Vec<String>,
    /// Names of the arrays of each stage's control, and of its transition's normalised convolutions.
    kinds: Vec<[Vec<String>; 2]>,
    visit: V,
}

impl<V: FnMut(String, Vec<usize>, Vec<f32>)> Walker<V> {
    /// `stages.0.control.2` is named after its kind, `stages.0.w2`; running statistics likewise.
    fn name(&self) -> String {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        if let ["head", arrays @ ("norm" | "running"), index] = path[..]
            && let Ok(index) = index.parse::<usize>()
        {
            return format!("head.{}", if arrays == "norm" { HEAD[index] } else { RUNNING[index] });
        }
        let ["stages", stage, within @ .., arrays, index] = &path[..] else {
            return path.join(".");
        };
        let (Ok(number), Ok(index)) = (stage.parse::<usize>(), index.parse::<usize>()) else {
            return path.join(".");
        };
        let [control, transition] = &self.kinds[number];
        let name = match *arrays {
            "control" => &control[index],
            "normalised" => &transition[index],
            "running" => RUNNING[index],
            _ => return path.join("."),
        };
        [&["stages", stage], within, &[name]].concat().join(".")
    }
}

impl<V: FnMut(String, Vec<usize>, Vec<f32>)> ModuleVisitor for Walker<V> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val().inner();
        let shape = value.dims().to_vec();
        let values = value.into_data().try_into_vec::<f32>();
        let name = self.name();
        (self.visit)(name, shape, values.expect("weights are kept in single precision"));
    }
}

struct Loader {
    values: std::vec::IntoIter<Vec<f32>>,
}

impl ModuleMapper for Loader {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let values = self.values.next().expect("one array a parameter, checked before");
        param.map(|old| Tensor::from_data(TensorData::new(values, old.shape()), &old.device()))
    }
}
/// A tensor on its way into a file.
struct Stored<'a> {
    shape: &'a [usize],
    values: &'a [f32],
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}
