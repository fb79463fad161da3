package import Config
package import Wire

extension ConnectionSettings {
    /// Fields with stranger names are as if they had not been sent (`ignore_invalid_headers`, `underscores_in_headers`).
    package var strangestFieldName: FieldNameKind {
        if !ignoreInvalidHeaders { return .odd }
        return underscoresInHeaders ? .underscored : .plain
    }
}
