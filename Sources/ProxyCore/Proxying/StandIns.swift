package import Config
package import Wire

extension FieldLine {
    package var name: Range<Int> { Int(nameStart)..<Int(nameStart) + Int(nameLength) }
    package var value: Range<Int> { Int(valueStart)..<Int(valueStart) + Int(valueLength) }
}

extension Exchange {
    package func render(_ template: Template, into output: inout [UInt8]) {
        for part in template.parts {
            if case .literal(let bytes) = part { output.append(contentsOf: bytes) }
        }
    }
    package var requestURI: Range<Int> { request.target }
    package var locationMatchesURI: Bool { true }
    package var pathHadEscapes: Bool { true }
}

extension Clock {
    package var httpDate: [UInt8] { [] }
}
