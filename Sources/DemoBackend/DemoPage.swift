enum DemoPage { static let html = "" }
