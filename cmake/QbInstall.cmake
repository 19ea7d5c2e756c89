# What `cmake --install` lays down: the binary, and under share/qbench the configs and the model it finds by itself.
install(DIRECTORY configs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/qbench/configs)
install(DIRECTORY models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/qbench/models FILES_MATCHING PATTERN "*.onnx" PATTERN "*.md")
