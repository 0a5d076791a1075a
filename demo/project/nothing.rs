//! Nothing: the dependency is all there is to this package.
