package import Config

extension Exchange {
    /// Appends what `template` comes to.
    package func render(_ template: Template, into output: inout [UInt8]) {
        for part in template.parts {
            if case .literal(let bytes) = part { output.append(contentsOf: bytes) }
        }
    }
}
