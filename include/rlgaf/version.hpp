#pragma once
/// The only place that states the version; the build reads it from here.
/// Major: incompatible change. Minor: new capability (and, while major is 0, possibly a changed default). Patch: fixes.
#define RLGAF_VERSION_MAJOR 0
#define RLGAF_VERSION_MINOR 1
#define RLGAF_VERSION_PATCH 0
