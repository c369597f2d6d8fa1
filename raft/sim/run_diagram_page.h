// The fixed parts of the page of a RunDiagram: style, controls and the script that draws.
#ifndef KEELSON_RAFT_SIM_RUN_DIAGRAM_PAGE_H_
#define KEELSON_RAFT_SIM_RUN_DIAGRAM_PAGE_H_

namespace keelson::raft::sim {

extern const char kPageStyle[];
extern const char kPageControls[];
extern const char kPageScript[];

}  // namespace keelson::raft::sim

#endif  // KEELSON_RAFT_SIM_RUN_DIAGRAM_PAGE_H_
