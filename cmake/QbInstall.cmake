# What `cmake --install` lays down: the binary; under share/qbench the configs and the model it finds by itself; and, where
# oneDNN is a private copy (a wheel's prefix, a build of one's own), that library, so that the binary does not depend on
# the build folder.
install(DIRECTORY configs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/qbench/configs)
install(DIRECTORY models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/qbench/models FILES_MATCHING PATTERN "*.onnx" PATTERN "*.md")

get_target_property(qb_onednn_library DNNL::dnnl LOCATION)
if(NOT qb_onednn_library MATCHES "^/(usr/)?lib")
    file(REAL_PATH ${qb_onednn_library} qb_onednn_library)
    install(FILES ${qb_onednn_library} DESTINATION ${CMAKE_INSTALL_LIBDIR}/qbench RENAME libdnnl.so.${dnnl_VERSION_MAJOR})
    set_target_properties(qbench PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}/qbench")
endif()
