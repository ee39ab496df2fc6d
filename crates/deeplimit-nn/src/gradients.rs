//! Gradients of a module's parameters, in the order in which the module is visited.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Gradients, Tensor, TensorData};

/// One flattened gradient a float parameter; `None` where the parameter took no part.
pub(crate) type Flat = Vec<Option<Tensor<1>>>;

/// The module with parameters of the same values and ids, which are leaves of their own in Burn's graph
/// where they take part in it.
pub(crate) fn apart<M: Module>(module: M) -> M {
    struct Apart;
    impl ModuleMapper for Apart {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|value| {
                let tracked = value.is_tracked();
                let value = Tensor::from_inner(value.inner());
                if tracked { value.require_grad() } else { value }
            })
        }
    }
    module.map(&mut Apart)
}

/// The module with parameters that belong to Burn's graph without being part of it: an optimiser takes no
/// others.
pub(crate) fn lifted<M: Module>(module: M) -> M {
    struct Lifted;
    impl ModuleMapper for Lifted {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(Tensor::from_inner)
        }
    }
    module.map(&mut Lifted)
}

/// Takes the gradients of a module's parameters out of a backward pass.
pub(crate) fn take<M: Module>(gradients: &mut Gradients, module: &M) -> Flat {
    struct Taker<'g> {
        gradients: &'g mut Gradients,
        flat: Flat,
    }
    impl ModuleVisitor for Taker<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad_remove(self.gradients);
            self.flat.push(gradient.map(|gradient| gradient.flatten(0, D as i64 - 1)));
        }
    }
    let mut taker = Taker { gradients, flat: Vec::new() };
    module.visit(&mut taker);
    taker.flat
}

/// Adds `share · other` to a list of gradients, which may still be empty.
pub(crate) fn add(sum: &mut Flat, share: f64, other: &Flat) {
    sum.resize(other.len(), None);
    for (sum, other) in sum.iter_mut().zip(other) {
        let Some(other) = other else { continue };
        let scaled = if share == 1.0 { other.clone() } else { other.clone().mul_scalar(share) };
        *sum = Some(match sum.take() {
            Some(sum) => sum.add(scaled),
            None => scaled,
        });
    }
}

/// Sum of the squares of all gradients.
pub(crate) fn norm_squared(flat: &Flat) -> f64 {
    let square = |g: &Tensor<1>| f64::from(g.clone().powi_scalar(2).sum().into_scalar::<f32>());
    flat.iter().flatten().map(square).sum()
}

/// Registers flattened gradients for the parameters of `module`, in their own shapes.
pub(crate) fn register<M: Module>(module: &M, flat: Flat, record: &mut GradientsParams) {
    struct Registrar<'g> {
        flat: std::vec::IntoIter<Option<Tensor<1>>>,
        record: &'g mut GradientsParams,
    }
    impl ModuleVisitor for Registrar<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.flat.next().flatten() {
                self.record.register::<D>(param.id, gradient.reshape(param.lazy_shape()));
            }
        }
    }
    module.visit(&mut Registrar { flat: flat.into_iter(), record });
}

/// `(1 − w) a + w b` for every float parameter: the weight interpolant between two layers.
pub(crate) fn blend<M: Module>(a: &M, b: &M, w: f64) -> M {
    struct Collector {
        values: Vec<Tensor<1>>,
    }
    impl ModuleVisitor for Collector {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.values.push(param.val().inner().flatten(0, D as i64 - 1));
        }
    }
    struct Blender {
        values: std::vec::IntoIter<Tensor<1>>,
        w: f64,
    }
    impl ModuleMapper for Blender {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let next = self.values.next().expect("layers of a flow have the same parameters");
            let w = self.w;
            param.map(|value| {
                let (tracked, shape) = (value.is_tracked(), value.shape());
                let blended = value.inner().mul_scalar(1.0 - w);
                let blended = blended.add(next.reshape(shape).mul_scalar(w));
                if tracked { Tensor::from_inner(blended).require_grad() } else { blended }
            })
        }
    }
    let mut collector = Collector { values: Vec::new() };
    b.visit(&mut collector);
    a.clone().map(&mut Blender { values: collector.values.into_iter(), w })
}

/// The gradients of all parameters of `module`, in the order of their visit.
pub(crate) fn collect<M: Module>(module: &M, record: &GradientsParams) -> Vec<Option<Vec<f32>>> {
    struct Collector<'g> {
        record: &'g GradientsParams,
        values: Vec<Option<Vec<f32>>>,
    }
    impl ModuleVisitor for Collector<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = self.record.get::<D>(param.id).map(|gradient| {
                let values = gradient.into_data().try_into_vec::<f32>();
                values.expect("gradients are kept in single precision")
            });
            self.values.push(values);
        }
    }
    let mut collector = Collector { record, values: Vec::new() };
    module.visit(&mut collector);
    collector.values
}

/// 2-norm of some gradients, added up in double precision, in as many lanes as registers have.
pub(crate) fn norm<'g>(gradients: impl Iterator<Item = &'g Vec<f32>>) -> f64 {
    let mut lanes = [0.0; 16];
    for gradient in gradients {
        for chunk in gradient.chunks(16) {
            lanes.iter_mut().zip(chunk).for_each(|(lane, g)| *lane += f64::from(*g).powi(2));
        }
    }
    lanes.iter().sum::<f64>().sqrt()
}

/// Gradients as tensors, outside any graph.
pub(crate) fn tensors(gradients: Vec<Option<Vec<f32>>>) -> Flat {
    let tensor = |values: Vec<f32>| {
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), &Device::flex())
    };
    gradients.into_iter().map(|values| values.map(tensor)).collect()
}
